"""Files and folders that callers name, checked before anything long begins."""

from __future__ import annotations

import os
from pathlib import Path

from .arguments import ArgumentError, shown


def expect_writable(path: object, kind: type[Exception] = ArgumentError) -> Path:
    """Checks that a file can be written.

    Args:
        path: the file.
        kind: of the error.

    Raises:
        Exception: of that kind, if its folder is not there or closed, it is a folder itself, or no path at all.
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path) or "\0" in str(path):
        raise kind(f"the file is {shown(path)}; it must be a path such as 'laws.png'")
    file = Path(path)
    if file.is_dir():
        raise kind(f"{file} is a folder; name a file in it")
    folder = file.absolute().parent
    if not folder.is_dir():
        raise kind(f"there is no folder {folder}; make it first")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise kind(f"{file} cannot be written: it is closed to this user; name another one")
    return file


def expect_folder(path: Path, kind: type[Exception] = ArgumentError) -> Path:
    """Checks that a folder is there or can be made.

    Args:
        path: the folder.
        kind: of the error.

    Raises:
        Exception: of that kind, if it is a file, or lies in one or in a folder that is closed.
    """
    there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    if not there.is_dir():
        raise kind(f"{there} is a file; name a folder, which is made where there is none")
    if not os.access(there, os.W_OK):
        raise kind(f"the folder {there} cannot be written: it is closed to this user; name another one")
    return path
