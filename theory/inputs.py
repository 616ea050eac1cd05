"""The one way in which example inputs are given: `args`, a tensor or a tuple, and `kwargs`, a dict."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
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
        raise kind(
            f"{where}: args is {shown(args)}; write args=(batch,) if the forward reads this dict itself; "
            "what the forward reads by name belongs into kwargs="
        )
    if args is not None and not isinstance(args, (tuple, list)):
        hint = "make it a tensor by torch.as_tensor" if type(args).__module__ == "numpy" else "write args=(x,)"
        raise kind(f"{where}: args is {shown(args)}; it must be a tensor, or a tuple of what the forward reads: {hint}")
    if kwargs is not None and not (isinstance(kwargs, Mapping) and all(isinstance(k, str) for k in kwargs)):
        raise kind(f"{where}: kwargs is {shown(kwargs)}; it must be a dict from names of the forward to what it reads")
    return tuple(args or ()), dict(kwargs or {})


Holds = tuple[dict[Any, Any], Callable[[Mapping[Any, Any]], Any]]


def object_items(value: Any) -> Holds | None:
    """What an object of a class of its own holds by name, and how a copy of it is made that holds something else.

    Dataclasses do, and what is read and written by keys without being a dict: graphs of PyTorch Geometric, batches of
    tokenizers, tensor dicts.

    Args:
        value: anything.

    Returns:
        The two, or None for what is no such object.
    """
    if isinstance(value, (dict, list, tuple, str, type)):
        return None
    if dataclasses.is_dataclass(value):
        items = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
        return items, lambda new: _written(value, new, object.__setattr__)
    keys = getattr(value, "keys", None)
    if callable(keys) and all(hasattr(type(value), n) for n in ("__getitem__", "__setitem__")):
        try:
            return {k: value[k] for k in keys()}, lambda new: _written(value, new, type(value).__setitem__)
        except Exception:  # keys that are no keys
            return None
    return None


def _written(value: Any, items: Mapping[Any, Any], write: Callable[[Any, Any, Any], None]) -> Any:
    """A copy of an object with other things in it; itself where nothing is another one."""
    out = copy.copy(value)
    for key, item in items.items():
        write(out, key, item)
    return out
