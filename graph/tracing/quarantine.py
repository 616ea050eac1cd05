"""Calls that tracing gets wrong are set apart as opaque blocks, as few as it takes, so that they refuse no module."""

from __future__ import annotations

from torch.fx import Node

from .lowering import Broken
from .program import Program
from .regions import Region, closed
from .values import NotUnderstood

MOST = 16  # attempts before the whole forward is one opaque block
SINGLE = 5  # calls that are set apart one by one, before those of the same line go together
GROWTHS = 3  # how often a region takes in what is around it
REPORT = "this is a fault of lawful, please report it"


class Quarantine:
    """The calls of a program that were rebuilt wrongly so far.

    Args:
        program: the program.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._single: dict[Node, str] = {}
        self._region: frozenset[Node] = frozenset()
        self._tries = 0
        self._growths = 0
        self._calls = [n for n in program.graph.nodes if n.op == "call_function"]

    @property
    def regions(self) -> tuple[Region, ...]:
        """What becomes opaque: single calls, and at most one region of several."""
        alone = [Region(closed([n]), reason) for n, reason in self._single.items() if n not in self._region]
        if not self._region:
            return tuple(alone)
        what = "the whole forward" if self.exhausted else f"{len(self._region)} calls that end here"
        text = f"{what} could not be rebuilt, so that it is taken as an unknown function of its inputs; {REPORT}"
        apart = [r for r in alone if not r.calls & self._region]
        return (*apart, Region(self._region, text))

    @property
    def exhausted(self) -> bool:
        """Whether the whole forward is set apart."""
        return len(self._region) == len(self._calls)

    def wrong(self, call: Node | None) -> None:
        """Sets a call apart whose value or gradient the rebuilt network gets wrong; None if nobody knows which."""
        self._add(call, f"it was rebuilt wrongly, so that it is taken as an unknown function of its inputs; {REPORT}")

    def broken(self, error: Broken) -> None:
        """Sets a call apart that no block could be made of."""
        text = str(error.error)
        if not isinstance(error.error, NotUnderstood):
            text = f"it could not be read ({type(error.error).__name__}: {error.error}); {REPORT}"
        self._add(error.call, f"{text}, so that it is taken as an unknown function of its inputs")

    def _add(self, call: Node | None, reason: str) -> None:
        self._tries += 1
        if call is None or self._tries > MOST or self._growths > GROWTHS:
            self._region = frozenset(self._calls)
            return
        known = {n for r in self.regions for n in r.calls}
        if call in known:
            self._growths += 1
            self._grow(call)
            return
        self._single[call] = reason
        if len(self._single) > SINGLE:
            self._single |= {n: reason for n in self._calls if self._alike(n, call)}

    def _alike(self, call: Node, other: Node) -> bool:
        """Whether two calls are of one operation on one line of code."""
        return call.target == other.target and self._program.place(call).line == self._program.place(other).line

    def _grow(self, call: Node) -> None:
        """One region of what was set apart around a call, with what it reads and what reads it."""
        around = next((r.calls for r in self.regions if call in r.calls), frozenset([call]))
        reads = {n for c in around for n in c.all_input_nodes if n.op == "call_function"}
        users = {u for c in around for u in c.users}
        self._region = closed(self._region | around | reads | users)


__all__ = ["Quarantine"]
