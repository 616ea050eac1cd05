"""What all commands share: where they print, in which characters, how they show that they work, how they end."""

from __future__ import annotations

import codecs
import json
import math
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from lawful.theory.telling import telling, told

AsJson = Annotated[bool, typer.Option("--json", help="plain data on stdout instead of tables; errors are JSON as well")]

PIPE_WIDTH = 160  # of a pipe where COLUMNS does not say another: wide enough for a table
SPELLED = {"‖": "||", "²": "^2", "Σ": "Sum", "ᵀ": "^T", "η": "eta", "ε": "eps", "γ": "gamma", "β": "beta", "θ": "theta"}
SPELLED |= {"…": "...", "×": "x", "≈": "~", "–": "-", "—": "-", "·": "*", "→": "->", "≤": "<=", "≥": ">=", "∞": "inf"}
SPELLED |= {"é": "e", "ö": "oe", "ü": "ue", "⟨": "<", "⟩": ">", "√": "sqrt", "∂": "d", "⊗": "(x)", "ℝ": "R"}
SPELLED |= {"─": "-", "│": "|", "●": "o", "∇": "grad ", "∫": "int ", "⊤": "^T", "−": "-", "’": "'", "≠": "!="}
SPELLED |= {"∈": " in ", "λ": "lambda", "³": "^3", "½": "1/2", "∥": "||", "∣": "|", "Δ": "D", "∝": "~"}
GREEK = "GREEK SMALL LETTER "  # how Unicode calls them, but for λ
FLOATS = 4  # matrices of parameters by parameters that the oracle holds at once
FIRST = ("check", "derive", "verify", "count", "draw", "report")  # what a new user needs, then the others


class Commands(TyperGroup):
    """The commands, those that are needed first at the top."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names in order."""
        names = super().list_commands(ctx)
        return [*FIRST, *(n for n in names if n not in (*FIRST, "demo")), "demo"]


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """A character that the terminal does not have, in letters that it has."""
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    return "".join(map(_in_ascii, missing)), error.end


def _in_ascii(c: str) -> str:
    """A character as it is spelled: Greek letters by their names, others without their accents; else its number."""
    name = unicodedata.name(c, "")
    plain = unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode()
    spelled = SPELLED.get(c, name.removeprefix(GREEK).lower() if name.startswith(GREEK) else plain)
    return spelled or c.encode("ascii", "backslashreplace").decode()


codecs.register_error("lawful.spelled", _spelled)


def any_encoding() -> None:
    """Makes stdout and stderr take every character, whatever their encoding is."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="lawful.spelled")


def single_thread() -> None:
    """Tiny tensors: threads that wait for one another cost far more than they give, most of all on a busy machine."""
    import torch

    torch.set_num_threads(1)


class _Lines(Console):
    """A console for pipes and files: no line ends in blanks."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints like rich, without the blanks that fill a table up."""
        with self.capture() as captured:
            super().print(*objects, **options)
        text = "\n".join(line.rstrip() for line in captured.get().split("\n"))
        self.file.write(text)


def console(quiet: bool) -> Console:
    """Where tables go: stdout, or stderr when stdout carries JSON.  A pipe is as wide as COLUMNS says."""
    terminal = Console(stderr=quiet)
    if terminal.is_terminal:
        return terminal
    columns = os.environ.get("COLUMNS", "")
    return _Lines(stderr=quiet, width=max(40, int(columns)) if columns.isdigit() else PIPE_WIDTH)


@contextmanager
def status(quiet: bool, first: str) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what is being done; in a pipe, a line now and then."""
    terminal = Console(stderr=True, quiet=quiet)
    if quiet or terminal.is_terminal:
        with terminal.status(first) as status, told():
            yield status.update
        return
    with telling(first, sys.stderr) as say:
        yield say


def print_json(data: dict[str, Any]) -> None:
    """Plain data on stdout, in ASCII; what JSON cannot say (NaN, infinity) is an error."""
    print(json.dumps(data, indent=2, allow_nan=False))


def finish(good: bool) -> NoReturn:
    """Ends a command with the exit code of its outcome."""
    raise typer.Exit(0 if good else 1)


def countable() -> int:
    """How many trainable scalars brute force takes in half of the memory that is free."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system says
        free = 2**33
    return math.isqrt(free // (2 * 8 * FLOATS))
