"""Saying that something still works: a line now and then, for whoever waits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from threading import Event, Thread
from typing import TextIO

SOON = 5.0  # seconds until the first line where somebody watches a terminal
PATIENCE = 15.0  # seconds between two lines

_TELLING: ContextVar[bool] = ContextVar("lawful_tells_what_it_does", default=False)


@contextmanager
def telling(first: str, stream: TextIO, soon: float | None = None) -> Iterator[Callable[[str], None]]:
    """Inside, a line on a stream says now and then what is being done; what is over sooner says nothing.

    Args:
        first: what is being done.
        stream: where the lines go.
        soon: seconds until the first one, if it comes sooner than the others.

    Yields:
        What to call with what is done next.
    """
    now, ended = [first], Event()

    def tell() -> None:
        wait = PATIENCE if soon is None else soon
        while not ended.wait(wait):
            with suppress(OSError, ValueError):  # nobody reads any more
                print(f"lawful: still {now[-1]}", file=stream, flush=True)
            wait = PATIENCE

    teller = Thread(target=tell, daemon=True)
    teller.start()
    try:
        with told():
            yield now.append
    finally:
        ended.set()
        teller.join()


@contextmanager
def told() -> Iterator[None]:
    """Inside, somebody is told already, so that no question that is asked on the way begins to tell as well."""
    token = _TELLING.set(True)
    try:
        yield
    finally:
        _TELLING.reset(token)


def watched(first: str) -> AbstractContextManager[Callable[[str], None] | None]:
    """`telling` on stderr where that is a terminal and nobody is told yet; in pipes, notebooks and tests nothing."""
    if _TELLING.get() or not getattr(sys.stderr, "isatty", bool)():
        return nullcontext()
    return telling(first, sys.stderr, SOON)


__all__ = ["PATIENCE", "SOON", "telling", "told", "watched"]
