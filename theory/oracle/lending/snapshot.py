"""The whole state that a module can reach, to be compared and put back to the bit.

What is reached: attributes of the module and of the objects in them, containers, closures, defaults, bound methods,
partial functions, hooks, counters on classes, and the globals that the user's own functions name.
"""

from __future__ import annotations

import contextlib
import functools
import io
import types
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from .containers import containers_of, inside
from .contents import contents_of
from .holders import Holder, LendingError, same

LEAVES = (str, bytes, int, float, complex, bool, type(None), range, slice, torch.dtype, torch.device, types.CodeType)
# a function under a context manager that is used as a decorator: every call makes a new one, the first one never runs
DECORATED = contextlib.ContextDecorator()(lambda: None).__code__
PLAIN = frozenset(LEAVES)  # most values are just these, and a set is asked faster than a class


@dataclass(frozen=True)
class Change:
    """Something that is not what it was.

    Attributes:
        path: where it stands, from the module (`layers.0.calls`).
        before: what stood there, None if nothing did.
        after: what stands there now, None if nothing does.
        holder: what holds it.
        key: its place in that.
    """

    path: str
    before: Any
    after: Any
    holder: Holder
    key: Any

    @property
    def counted(self) -> bool:
        """Whether it is one number that became another one."""
        return all(isinstance(v, (int, float)) for v in (self.before, self.after))


class Snapshot:
    """What a module and everything that it reaches hold at one moment.

    Args:
        module: the module.
        lent: ids of tensors whose numbers the caller takes care of (parameters and buffers).

    Raises:
        LendingError: for an iterator among what it reaches.
    """

    def __init__(self, module: torch.nn.Module, lent: Collection[int] = ()) -> None:
        self._holders: list[Holder] = []
        self._lent = lent
        self._seen: dict[int, tuple[str, Any]] = {}
        todo: list[tuple[str, Any]] = [("", module)]
        while todo:
            path, value = todo.pop()
            if type(value) in PLAIN or id(value) in self._seen or isinstance(value, LEAVES):
                continue
            self._seen[id(value)] = path, value
            if isinstance(value, types.FunctionType) and value.__code__ is DECORATED:
                unused = _generator(value)
                self._seen[id(unused)] = path, unused
            if _iterates(type(value)):  # type: ignore[arg-type]  # a class is hashable
                raise LendingError(
                    f"{path} is an iterator ({type(value).__name__}), whose place cannot be put back after a run; keep "
                    "a list and a number"
                )
            own = contents_of(path, value, id(value) not in lent)
            for holder in (*(() if own is None else (own,)), *containers_of(path, value)):
                self._holders.append(holder)
                todo += [(holder.name(k), v) for k, v in holder.saved.items()]
            todo += inside(path, value)

    def changes(self) -> list[Change]:
        """Everything that is not what it was; nothing of the tensors that are lent."""
        found = []
        for holder in self._holders:
            now = holder.read()
            for key in {**holder.saved, **now}:
                before, after = holder.saved.get(key), now.get(key)
                if (key in holder.saved) != (key in now) or not same(before, after):
                    found.append(Change(holder.name(key), before, after, holder, key))
        return found

    def places(self, value: Any) -> list[tuple[Holder, Any]]:
        """Where an object stood: what held it, and its place in that."""
        return [(h, k) for h in self._holders for k, v in h.saved.items() if v is value]

    def trained(self) -> dict[str, torch.Tensor]:
        """Tensors that take a gradient and are not lent, by their paths: no parameters of the module are among them."""
        own = ((path, v) for path, v in self._seen.values() if isinstance(v, torch.Tensor) and id(v) not in self._lent)
        return {path: v for path, v in own if v.is_leaf and v.requires_grad}

    def restore(self) -> None:
        """Puts everything back."""
        for holder in self._holders:
            now = holder.read()
            if list(now) != list(holder.saved) or any(now[k] is not v for k, v in holder.saved.items()):
                holder.write(holder.saved)


def _generator(function: types.FunctionType) -> Any:
    """The generator of the context manager that decorates a function."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    return getattr(cells["self"].cell_contents, "gen", None)


@functools.lru_cache(maxsize=4096)
def _iterates(kind: type) -> bool:
    return issubclass(kind, Iterator) and not issubclass(kind, io.IOBase)


__all__ = ["Change", "Snapshot"]
