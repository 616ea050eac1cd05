"""The transforms of torch (vmap, grad): none stays open behind a question, whatever was raised inside of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def no_transform_left() -> Iterator[None]:
    """Closes what torch leaves open when an operation without a batching rule raises inside a vmap.

    While a level stays open every draw of random numbers in the process raises.
    """
    levels = torch._C._functorch
    depth = levels.get_dynamic_layer_stack_depth()
    try:
        yield
    finally:
        if levels.get_dynamic_layer_stack_depth() > depth:
            levels.pop_dynamic_layer_stack_and_undo_to_depth(depth)
