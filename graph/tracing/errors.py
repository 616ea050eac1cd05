"""What tracing cannot read."""

from __future__ import annotations

import linecache
import os
import sysconfig
from pathlib import Path
from types import TracebackType

import torch

TORCH = str(Path(torch.__file__).parent) + os.sep
HERE = str(Path(__file__).parent) + os.sep
PACKAGES = sysconfig.get_paths()["purelib"] + os.sep


class TraceError(ValueError):
    """A module whose forward cannot be read; one sentence with the place in the code and the way out."""


class OpenError(TraceError):
    """A forward whose branches or shapes depend on values."""


class BackwardError(TraceError):
    """A module whose own gradients are not those of its rebuilt forward.

    Attributes:
        gap: the largest relative difference.
    """

    def __init__(self, text: str, gap: float) -> None:
        super().__init__(text)
        self.gap = gap


def user_line(frames: TracebackType | None) -> str:
    """The innermost line of a traceback that is neither torch's nor ours, as `file:line: code`; empty if there is none.

    Args:
        frames: the traceback of what a forward, or torch.export inside of it, raised.
    """
    found = ""
    while frames is not None:
        path = frames.tb_frame.f_code.co_filename
        if foreign(path):
            code = linecache.getline(path, frames.tb_lineno).strip()
            found = f"{short_path(path)}:{frames.tb_lineno}: {code}".rstrip(": ")
        frames = frames.tb_next
    return found


def foreign(path: str) -> bool:
    """Whether a file is neither torch's nor a part of tracing, nor code that has no file."""
    return not path.startswith((TORCH, HERE, "<")) and os.path.isabs(path)


def short_path(path: str) -> str:
    """A path without the folder that holds the installed packages, wherever it is, or the working directory."""
    return (
        path.removeprefix(PACKAGES).rpartition(f"{os.sep}site-packages{os.sep}")[2].removeprefix(os.getcwd() + os.sep)
    )


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of its text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
