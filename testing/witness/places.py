"""Where in a user's source something is called."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping

from .tape import Place

OURS = frozenset({"torch", "lawful"})  # packages whose lines no user wrote
STANDARD = sysconfig.get_paths()["stdlib"] + os.sep


def place_now(names: Mapping[int, str]) -> Place:
    """The innermost module whose forward runs, and the innermost line that a user wrote.

    Args:
        names: of modules, by `id`.
    """
    frame, path, number, module = sys._getframe(1), "", 0, None
    while frame is not None and not (path and module is not None):
        code = frame.f_code
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if not path and package not in OURS and code.co_filename[:1] != "<" and _users(code.co_filename):
            path, number = code.co_filename, frame.f_lineno
        if module is None and code.co_argcount and code.co_varnames[0] == "self" and code.co_name == "forward":
            module = names.get(id(frame.f_locals.get("self")))
        frame = frame.f_back  # type: ignore[assignment]
    return Place(module or "", path, number)


def _users(path: str) -> bool:
    """Whether a file is not one of Python's own library."""
    return not path.startswith(STANDARD) or "site-packages" in path


__all__ = ["place_now"]
