"""The networks that show the laws: small, named after the papers' letters, one or more for every block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture

BALANCE = "wire-balance theorem (lawful)"
SHIFT = "shift theorem (lawful)"

Builder = Callable[..., b.Net]


@dataclass(frozen=True)
class Setting:
    """A family of networks over some widths.

    Attributes:
        name: first part of the ids of its entries.
        title: what the network is.
        block: the block or composite that it is about.
        build: the network at given widths.
        sizes: the widths of the certificate.
        input: what the network reads at given widths, where its first block does not say.
        space: position axes of the input.
        loss: the loss.
        least: smallest width at which the count formula is meant, where it is not 2.
        ample: widths that have to be large for the count formula of independent laws.
        source: paper and theorem of its quadratic laws.
        linear_source: the same of its linear laws.
        hypotheses: what has to be true besides what the generator sees.
        adapt: what is done to the architecture afterwards, with the widths (low-rank adapters).
        adapted: how that is written around the network, as a format string.
    """

    name: str
    title: str
    block: str
    build: Builder
    sizes: dict[str, int]
    input: Callable[..., b.Signal | Sequence[b.Signal]] | None = None
    space: tuple[int, ...] | None = None
    loss: str = "mse"
    least: dict[str, int] = field(default_factory=dict)
    ample: tuple[str, ...] = ()
    source: str = ""
    linear_source: str = SHIFT
    hypotheses: tuple[str, ...] = ()
    adapt: Callable[..., Architecture] | None = None
    adapted: str = "{network}"

    def architecture(self, **sizes: int) -> Architecture:
        """The network at some widths."""
        signal = self.input(**sizes) if self.input else None
        arch = Architecture(self.build(**sizes), input=signal, space=self.space)
        return self.adapt(arch, **sizes) if self.adapt else arch

    @property
    def network(self) -> str:
        """The network at the sizes of the certificate, as an expression of blocks."""
        return self.adapted.format(network=repr(self.build(**self.sizes)), **self.sizes)


def linear(features: int, width: int, bias: bool = False) -> b.Linear:
    """A linear map, by default without bias."""
    return b.Linear(features, width, bias)


def relu_branch(n: int, h: int) -> b.Net:
    """The residual branch of most settings."""
    return b.chain(up=linear(n, h), act=b.ReLU(), down=linear(h, n))


def tokens(n: int, length: int = 3) -> b.Signal:
    """Three tokens: one or two have accidental laws."""
    return b.Signal(n, (length,))


def image(n: int, *space: int) -> b.Signal:
    """An image with channels first."""
    return b.Signal(n, space, channels_first=True)
