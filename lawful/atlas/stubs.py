"""Torchvision beside a torch build that its compiled operators do not fit: their declarations, so that it imports.

Only the tools that build published models call this; `import lawful` never does.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import torch

DECLARED = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_kept: list[torch.library.Library] = []  # a library that is collected takes its operators along


def declare_torchvision() -> None:
    """Declares the operators that torchvision registers shapes for, if its own library does not load.

    No classification model runs them.  Does nothing without torchvision, and nothing the second time.
    """
    if _kept or not _broken():
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in DECLARED:
        library.define(f"{name}{SCHEMA}")
    _kept.append(library)


def _broken() -> bool:
    """Whether torchvision is there, and none of its compiled operators are."""
    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations or hasattr(torch.ops.torchvision, "nms"):
        return False
    for folder in found.submodule_search_locations:
        for path in Path(folder).glob("_C*.so"):
            try:
                ctypes.CDLL(str(path))
            except OSError:
                continue
            return False
    return True
