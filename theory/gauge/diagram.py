"""The network as the theorems see it: wires, sites that carry rules, and parameters.

A `Diagram` is what an architecture becomes before its laws are derived.  It knows widths and parameter shapes, no
tensors, so a network of any size costs a few objects per block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from .contract import Site


@dataclass(frozen=True, slots=True)
class Wire:
    """A feature axis between blocks.

    Attributes:
        name: the port that writes it, as printed in laws and proofs.
        size: number of features.
        tokens: length of its token axis (1 where it has none).
        positions: number of positions, of tokens or of pixels.
        space: lengths of the axes of its positions.
    """

    name: str
    size: int
    tokens: int = 1
    positions: int = 1
    space: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
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
