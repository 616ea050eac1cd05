"""Counting exactly: networks as polynomials modulo a prime, their fields and brackets, ranks and certificates."""
