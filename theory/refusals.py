"""What torch, numpy or a module itself raises, as one sentence with the place and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

UNMAPPED = re.compile(r"[Bb]atching rule not implemented for (?:aten::)?([\w.]+\w)")  # what vmap says
LONGEST = 160  # characters of an error of somebody else in one of ours


class ShapeError(ValueError):
    """Blocks that do not fit; says where, both sides and what to do."""


class InputsError(ShapeError):
    """A module that is to run without example inputs.

    Args:
        doing: what needs them ("verifying").
        module: the module.
    """

    def __init__(self, doing: str, module: object) -> None:
        name = type(module).__name__
        super().__init__(f"{doing} a {name} needs example inputs; pass args=(x,) or kwargs={{...}}")


class ModuleError(ValueError):
    """Something of the user's that does not run."""


def said(error: BaseException) -> str:
    """The kind of an error and how its text begins, in one line; in our words where torch speaks of its own insides."""
    if unmapped := UNMAPPED.search(str(error)):
        return f"torch cannot run {unmapped[1]} on many points at once"
    text = " ".join(str(error).split())
    short = text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " ..."
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


def is_own(error: BaseException) -> bool:
    """Whether an error is one of lawful."""
    return type(error).__module__.startswith("lawful")


@contextmanager
def refused(what: str, way_out: str = "run it by itself first", kind: type[Exception] = ModuleError) -> Iterator[None]:
    """Inside, errors that are not of lawful become one sentence.

    Args:
        what: what does not work, and where.
        way_out: what to do.
        kind: of the error that is raised.

    Raises:
        Exception: of that kind.
    """
    try:
        yield
    except Exception as error:
        if is_own(error):
            raise
        raise kind(f"{what} ({said(error)}); {way_out}") from error
