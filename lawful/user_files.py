"""What a function in a file of the user's returns: the only code that a spec runs."""

from __future__ import annotations

import inspect
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .bad_input import BadInput, reason

if TYPE_CHECKING:
    from torch.nn import Module


@contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """Inside, what a file imports from its own package is found; a process that asks is left as it was."""
    new = [str(f) for f in folders if str(f) not in sys.path]
    sys.path[:0] = reversed(new)
    try:
        yield
    finally:
        for folder in new:
            if folder in sys.path:
                sys.path.remove(folder)


def made_by(path: Path, function: str, options: Mapping[str, Any]) -> Any:
    """What a function of a user's file returns, with options as its arguments by name."""
    from torch.nn import Module

    from lawful.blocks import Net
    from lawful.graph.architecture.architecture import Architecture
    from lawful.theory.arguments import a_or_an

    with _ForeignCode(path), redirect_stdout(sys.stderr):
        names = runpy.run_path(str(path))
        given = names.get(function)
        if isinstance(given, Module):
            raise BadInput(
                f"{path}: {function} is {a_or_an(type(given).__name__)} and no function; "
                "write a function that returns (module, (x,)), x an example"
            )
        if isinstance(given, (Net, Architecture)):
            raise BadInput(f"{path}: {function} is a network and no function; write a function that returns it")
        if not callable(given):
            found = ", ".join(
                n for n, v in names.items() if callable(v) and getattr(v, "__module__", None) == names["__name__"]
            )
            raise BadInput(f"{path} has no function {function!r}; it has {found or 'none'}")
        if wrong := _unfit(given, options):
            raise BadInput(
                f"{path}:{function} does not take its options: {wrong}; write {path}:{function}:key=value for each"
            )
        return given(**options)


def _unfit(function: Callable[..., Any], options: Mapping[str, Any]) -> str:
    """Why a function cannot be called with options, and what it takes; empty if it can."""
    try:
        own = inspect.signature(function)
    except ValueError:  # something of C, which says so itself
        return ""
    try:
        own.bind(**options)
    except TypeError as error:
        return f"{error}, of {own}"
    return ""


def module_call(made: Any, where: str) -> tuple[Module, tuple[Any, ...], dict[str, Any]]:
    """A module of the user's with what its forward reads."""
    from torch import Tensor, nn

    from lawful.theory.arguments import a_or_an

    match made:
        case nn.Module():
            name = a_or_an(type(made).__name__)
            raise BadInput(
                f"{where} returns {name} without inputs; write a function that returns (module, (x,)), x an example"
            )
        case (nn.Module() as module, tuple() | list() as args):
            return module, tuple(args), {}
        case (nn.Module() as module, tuple() | list() as args, dict() as kwargs):
            return module, tuple(args), kwargs
        case (nn.Module() as module, Tensor() as x):
            return module, (x,), {}
        case (nn.Module(), *rest):
            kinds = ", ".join(type(x).__name__ for x in rest) or "nothing"
            raise BadInput(
                f"{where} returns a module with {kinds}; return (module, (x,)), also where x is a dict that the "
                "forward reads itself, or (module, (), {name: x}) for what it reads by name"
            )
    raise BadInput(
        f"{where} returns {a_or_an(type(made).__name__)}; "
        "return an Architecture, an expression of blocks, or (module, args)"
    )


class _ForeignCode:
    """Tells what goes wrong in a file of the user's in one line: file, line and error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, BadInput) or not isinstance(error, (Exception, SystemExit)):
            return
        lines = [frame.lineno for frame in traceback.extract_tb(trace) if frame.filename == str(self.path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        raise BadInput(
            f"{self.path}{f', line {line}' if line else ''}: {type(error).__name__}: {reason(error)}"
        ) from error


__all__ = ["importable", "made_by", "module_call"]
