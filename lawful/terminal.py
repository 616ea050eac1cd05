"""What all commands share: where they print, how they show that they work, how they end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="plain data on stdout instead of tables")]


def single_thread() -> None:
    """Tiny tensors: threads that wait for one another cost far more than they give, most of all on a busy machine."""
    import torch

    torch.set_num_threads(1)


def console(quiet: bool) -> Console:
    """Where tables go: stdout, or stderr when stdout carries JSON.  A pipe gets lines wide enough for a table."""
    terminal = Console(stderr=quiet)
    return terminal if terminal.is_terminal else Console(stderr=quiet, width=160)


@contextmanager
def status(quiet: bool, first: str) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what is being done; silent where stderr is no terminal."""
    terminal = Console(stderr=True, quiet=quiet)
    with terminal.status(first) as status:
        yield status.update


def print_json(data: dict[str, Any]) -> None:
    """Plain data on stdout; what JSON cannot say (NaN, infinity) is an error."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def finish(good: bool) -> NoReturn:
    """Ends a command with the exit code of its outcome."""
    raise typer.Exit(0 if good else 1)
