"""Counting again in 120 digits what floats leave in doubt: numbers with error bounds, jets, brackets and ranks."""
