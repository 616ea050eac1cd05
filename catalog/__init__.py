"""Verified laws as data: one entry per law of every block, with the certificate of the check that was run.

The entries are generated from the blocks (`python -m lawful.catalog.build`) and kept in `data/laws.json`; reading them
needs neither torch nor sympy.
"""

from .entry import Certificate, Entry
from .store import entries, get, search

__all__ = ["Certificate", "Entry", "entries", "get", "search"]
