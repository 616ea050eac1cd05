"""Small matrices are worked on by one thread.

Torch splits even small products among all cores.  On a busy machine its threads then wait for one another most of the
time: 100 networks of 30 parameters took 184 s to count, and 8 s with one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 1000  # parameters, below which one thread is at least as fast


@contextmanager
def few_threads(size: int) -> Iterator[None]:
    """Works with one thread of torch where a problem is small, and leaves the setting as it was.

    Args:
        size: number of parameters of the problem.
    """
    before = torch.get_num_threads()
    if size > SMALL or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
