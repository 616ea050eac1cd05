"""Hypothesis strategies, assertions and the pytest plugin."""
