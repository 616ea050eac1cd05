"""Architectures as networkx graphs, the composition engine, tracing and families."""
