"""Verified laws as data: store, query, certificates, pages."""
