"""The network as the theorems see it: wires, sites that carry rules, and parameters.

A `Diagram` is what an architecture becomes before its laws are derived.  It knows widths and parameter shapes, no
tensors, so a network of any size costs a few objects per block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .rules import Rule


@dataclass(frozen=True)
class Wire:
    """A feature axis between blocks.

    Attributes:
        name: the port that writes it, as printed in laws and proofs.
        size: number of features.
        tokens: length of its token axis (1 where it has none).
        positions: number of positions, of tokens or of pixels.
    """

    name: str
    size: int
    tokens: int = 1
    positions: int = 1


@dataclass(frozen=True)
class Parameter:
    """A trainable (or frozen) tensor: its name, shape and whether training moves it."""

    name: str
    shape: tuple[int, ...]
    frozen: bool = False

    @property
    def size(self) -> int:
        """Number of scalars."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class View:
    """How a law looks at a parameter: `p.reshape(shape).permute(order)`, whose leading `lead` axes form the wire."""

    shape: tuple[int, ...]
    order: tuple[int, ...]
    lead: int = 1

    @staticmethod
    def axis(shape: tuple[int, ...], i: int) -> View:
        """The wire is axis `i` of the tensor."""
        return View(shape, (i, *(k for k in range(len(shape)) if k != i)))


@dataclass(frozen=True)
class Site:
    """A block in place: its rule and the wires on its ports.

    `function` tells blocks with one rule apart (ReLU and LeakyReLU); None stands for a function of its own.  `inner`
    are wires inside the block, which no other block reads: the axes along which its own parameters move unseen.
    `parameters` names all that the block computes with, also those of which its rule says nothing.
    """

    name: str
    rule: Rule
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    function: tuple[object, ...] | None = None
    inner: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()

    @property
    def wires(self) -> tuple[int, ...]:
        """All wires that its rule speaks about."""
        return (*self.inputs, *self.outputs, *self.inner)


@dataclass(frozen=True)
class Diagram:
    """Wires, sites in topological order, parameters by name."""

    wires: tuple[Wire, ...]
    sites: tuple[Site, ...]
    parameters: dict[str, Parameter] = field(default_factory=dict)

    # One index, made once: everything that walks along wires asks here instead of building its own.

    @cached_property
    def readers(self) -> tuple[tuple[tuple[Site, int], ...], ...]:
        """For every wire the sites that read it and the port they read it on."""
        out: list[list[tuple[Site, int]]] = [[] for _ in self.wires]
        for site in self.sites:
            for port, w in enumerate(site.inputs):
                out[w].append((site, port))
        return tuple(map(tuple, out))

    @cached_property
    def writer(self) -> Mapping[int, Site]:
        """The site that writes a wire; wires inside a site have none."""
        return {w: s for s in self.sites for w in s.outputs}

    @cached_property
    def place(self) -> Mapping[str, int]:
        """Where a site stands in the order, by its name."""
        return {s.name: i for i, s in enumerate(self.sites)}

    def with_sites(self, sites: list[Site]) -> Diagram:
        """The same wires and parameters with other sites."""
        return replace(self, sites=tuple(sites))
