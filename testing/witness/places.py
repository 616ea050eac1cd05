"""Where in a user's source something is called."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping

from .tape import Place

OURS = frozenset({"torch", "lawful"})  # packages whose lines no user wrote
RUNS = os.path.join(os.path.dirname(__file__), "sample.py")  # calls the module
STANDARD = sysconfig.get_paths()["stdlib"] + os.sep


def place_now(names: Mapping[int, str]) -> Place:
    """The innermost module whose forward runs, and the innermost line that a user wrote.

    Args:
        names: of modules, by `id`.
    """
    frame, path, number, module = sys._getframe(1), "", 0, None
    decorated = None
    while frame is not None and not (path and module is not None):
        code = frame.f_code
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if code.co_name == "decorate_context":
            decorated = frame.f_locals.get("func")  # under @torch.no_grad()
        if code.co_filename == RUNS:
            break  # what follows calls the test
        if not path and package not in OURS and code.co_filename[:1] != "<" and _users(code.co_filename):
            path, number = code.co_filename, frame.f_lineno
        if module is None and code.co_argcount and code.co_varnames[0] == "self" and code.co_name == "forward":
            module = names.get(id(frame.f_locals.get("self")))
        frame = frame.f_back  # type: ignore[assignment]
    own = getattr(decorated, "__code__", None)
    if not path and own is not None:  # nobody's line calls it: it is the forward itself
        path, number = own.co_filename, own.co_firstlineno
    return Place(module or "", path, number)


def _users(path: str) -> bool:
    """Whether a file is not one of Python's own library."""
    return not path.startswith(STANDARD) or "site-packages" in path


__all__ = ["place_now"]
