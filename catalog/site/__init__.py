"""The catalog as static pages: read without scripts, searched in the browser with the ranking of the library.

Answers: what the catalog looks like.
Imports: the entries and the search; nothing that derives.
Read first: `write`, then `pages`.
"""

from .write import write

__all__ = ["write"]
