"""Whether lawful itself runs a module, which tells who watches the module that no training goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_OWN: ContextVar[bool] = ContextVar("lawful_runs_a_module", default=False)


@contextmanager
def own_run() -> Iterator[None]:
    """Inside, every call of a module is one of lawful's questions."""
    token = _OWN.set(True)
    try:
        yield
    finally:
        _OWN.reset(token)


def is_own_run() -> bool:
    """Whether lawful asks, and nobody trains."""
    return _OWN.get()
