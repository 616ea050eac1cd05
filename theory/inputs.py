"""The one way in which example inputs are given: `args`, a tensor or a tuple, and `kwargs`, a dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .arguments import ArgumentError, shown


def inputs_of(
    where: str, args: Any = (), kwargs: Any = None, kind: type[Exception] = ArgumentError
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Example inputs as a tuple and a dict; a bare tensor `x` stands for `(x,)`.

    Args:
        where: the function that was called, for messages.
        args: what the forward reads by position.
        kwargs: what it reads by name.
        kind: of the error.

    Raises:
        Exception: of that kind, for anything that is no such thing.
    """
    import torch  # not at the top: laws are read without it

    if isinstance(args, torch.Tensor):
        args = (args,)
    if isinstance(args, Mapping):
        raise kind(f"{where}: args is {shown(args)}; what the forward reads by name belongs into kwargs=")
    if args is not None and not isinstance(args, (tuple, list)):
        hint = "make it a tensor by torch.as_tensor" if type(args).__module__ == "numpy" else "write args=(x,)"
        raise kind(f"{where}: args is {shown(args)}; it must be a tensor, or a tuple of what the forward reads: {hint}")
    if kwargs is not None and not (isinstance(kwargs, Mapping) and all(isinstance(k, str) for k in kwargs)):
        raise kind(f"{where}: kwargs is {shown(kwargs)}; it must be a dict from names of the forward to what it reads")
    return tuple(args or ()), dict(kwargs or {})
