"""The expressions that compose blocks, and what is refused where it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lawful.theory.arguments import expect_fields, misfit, shown

from .signals import ShapeError, WidthError


class Net:
    """Anything that can be composed: a block or an expression of blocks."""

    if not TYPE_CHECKING:  # which is to find names that are not there by itself

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property that raises this error itself
                return object.__getattribute__(self, name)
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_"):
                text += "; it is a part of networks: lw.Architecture(...) of it is one, which is drawn, counted and run"
            raise AttributeError(text, name=name, obj=self)

    def __rshift__(self, other: Net) -> Series:
        return Series.of(self, expect_net(other, f"what follows {self!r}"))

    def __rrshift__(self, other: object) -> Series:
        return expect_net(other, f"what comes before {self!r}") >> self

    def carry(self, width: int | None) -> int | None:
        """The number of features that it writes, None where its parts do not tell.

        Args:
            width: how many it reads, None if that is not known.

        Raises:
            WidthError: if a part of it reads another number than it gets.
        """
        return None

    def wanted(self) -> int | None:
        """The only number of features that it can read, None where it reads others too or its parts do not tell."""
        return None


def expect_net(value: Any, what: str) -> Net:
    """A part of an expression, if it is one.

    Args:
        value: what stands there.
        what: which part it is.

    Raises:
        ShapeError: for anything else; says what to write.
    """
    if isinstance(value, Net):
        return value
    kind = value if isinstance(value, type) else type(value)
    if isinstance(value, type) and issubclass(value, Net):
        way_out = f"write {value.__name__}() with parentheses and its arguments"
    elif callable(value) and getattr(value, "__module__", "").startswith("lawful.blocks"):
        way_out = f"write {value.__name__}() with parentheses and its arguments"
    elif kind.__module__.startswith("torch.nn"):
        way_out = f"use the block lawful.blocks.{kind.__name__}, or read the whole torch module by lawful.trace"
    else:
        way_out = "expected a block or an expression of blocks"
    raise ShapeError(f"{what} is {shown(value)}; {way_out}")


def expect_named(owner: Net, field: str, nets: object) -> None:
    """Checks that nets have names: a tuple of pairs.  It is quick, since every `>>` makes a series.

    Raises:
        ShapeError: says what is there instead.
    """
    pairs = nets if isinstance(nets, tuple) else (None,)
    for pair in pairs:
        if type(pair) is not tuple or len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], Net):
            way = "write a >> b or chain(a=..., b=...)" if isinstance(owner, Series) else "write parallel(a, b)"
            raise ShapeError(
                f"{type(owner).__name__} has the {field} {shown(nets)}; it must be a tuple of pairs, each a name and a "
                f"block: {way}"
            )


@dataclass(frozen=True, eq=False)
class Series(Net):
    """One net after the other."""

    parts: tuple[tuple[str, Net], ...]

    def __post_init__(self) -> None:
        expect_named(self, "parts", self.parts)

    @staticmethod
    def of(*nets: Net) -> Series:
        """A series of nets; series without names are joined into one.

        Raises:
            WidthError: if one of them reads another number of features than the one before it writes.
        """
        flat: list[Net] = []
        for n in nets:
            if isinstance(n, Series) and all(name.isdigit() for name, _ in n.parts):
                flat += [part for _, part in n.parts]
            else:
                flat.append(n)
        series = Series(tuple((str(i), n) for i, n in enumerate(flat)))
        first = nets[0]
        known = len(first.parts) if isinstance(first, Series) and flat[0] is not first else 1
        series.__dict__["written"] = series._carried(
            known, first.written if isinstance(first, Series) else first.carry(None)
        )
        return series

    @cached_property
    def written(self) -> int | None:
        """The number of features that it writes, None where its parts do not tell."""
        return self.carry(None)

    def carry(self, width: int | None) -> int | None:
        """The number of features that its last part writes."""
        return self._carried(0, width)

    def _carried(self, begin: int, width: int | None) -> int | None:
        for i, (name, part) in enumerate(self.parts[begin:], begin):
            try:
                width = part.carry(width)
            except WidthError as error:
                raise error.inside(name, (self.parts[i - 1][0],) if i else ()) from None
        return width

    def wanted(self) -> int | None:
        """The number of features that its first part reads, or the next one where those before keep the width."""
        for _, part in self.parts:
            if (found := part.wanted()) is not None:
                return found
            if not _keeps(part):
                break
        return None

    def __repr__(self) -> str:
        return " >> ".join(f"({p!r})" if isinstance(p, Series) else repr(p) for _, p in self.parts)


def _keeps(net: Net) -> bool:
    """Whether a net writes as many features as it reads, of two numbers that have little in common."""
    try:
        return all(net.carry(width) == width for width in (48, 60))
    except WidthError:
        return False


@dataclass(frozen=True, eq=False)
class Wiring(Net):
    """Explicit wiring: named nets and the ports they read.

    Attributes:
        nodes: name -> net.
        reads: name -> sources, each `"name"`, `"name:port"` or `"input"`, `"input:port"`; one alone may be plain text.
        output: sources of the result: several are outputs of the network, each with a loss of its own.
    """

    nodes: dict[str, Net] = field(default_factory=dict)
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    output: tuple[str, ...] = ()
    inputs: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.reads, dict):
            object.__setattr__(self, "reads", {n: _several(sources) for n, sources in self.reads.items()})
        object.__setattr__(self, "output", _several(self.output))
        for name, node in self.nodes.items() if isinstance(self.nodes, dict) else ():
            expect_net(node, f"the node {name!r} of a Wiring")
        for name, sources in self.reads.items() if isinstance(self.reads, dict) else ():
            if wanted := misfit(sources, tuple[str, ...]):
                raise ShapeError(f"what the node {name!r} of a Wiring reads is {shown(sources)}; it must be {wanted}")
        expect_fields(self, kind=ShapeError)


def _several(sources: Any) -> Any:
    return (sources,) if isinstance(sources, str) else tuple(sources) if isinstance(sources, list) else sources


def chain(*unnamed: object, **parts: Net) -> Series:
    """A series whose parts have names: `chain(conv1=..., bn1=...)`.

    Args:
        *unnamed: refused; parts without names are put together by `>>`.
        **parts: the parts by name.

    Raises:
        ShapeError: for a part without a name, one that is no net, and for no parts at all.
    """
    if unnamed:
        raise ShapeError(f"chain: {shown(unnamed[0])} has no name; write chain(name=...), or a >> b for parts without")
    return _fitting(Series(tuple((name, expect_net(n, f"the part {name}")) for name, n in parts.items())))


def repeat(nets: Sequence[Net]) -> Series:
    """A series of blocks that stay apart under their own number."""
    if isinstance(nets, Net) or not isinstance(nets, Sequence):
        raise ShapeError(f"repeat: nets is {shown(nets)}; it must be a list of blocks")
    return _fitting(Series(tuple((str(i), expect_net(n, f"the part {i}")) for i, n in enumerate(nets))))


def _fitting(series: Series) -> Series:
    if not series.parts:
        raise ShapeError("a series has no parts; give it at least one block")
    series.carry(None)  # refuses widths that do not fit
    return series
