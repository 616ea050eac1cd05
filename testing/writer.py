"""Modules of torch's own layers as source code, and what writes them line by line."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import nn

from .programs import compiled, reproducible

T = TypeVar("T")

SPACES = {"vector": 0, "sequence": 0, "signal": 1, "image": 2}


@dataclass(frozen=True)
class Value:
    """A value of the forward.

    Attributes:
        name: of the variable.
        kind: `vector` `(batch, width)`, `sequence` `(batch, length, width)`, `signal` `(batch, width, length)` or
            `image` `(batch, width, length, length)`.
        width: number of features.
        length: number of positions along one axis.
    """

    name: str
    kind: str
    width: int
    length: int = 1

    @property
    def axis(self) -> int:
        """The axis of the features."""
        return 1 if SPACES[self.kind] else -1


@dataclass(frozen=True)
class LayerModule:
    """A module as source code, with the source of its example inputs."""

    source: str
    inputs: tuple[str, ...]
    names: tuple[str, ...] = field(default=(), compare=False)
    outputs: tuple[str, ...] = ("out",)
    calls: frozenset[str] = frozenset()

    def module(self, seed: int = 0) -> nn.Module:
        """The module, with parameters that are random and nowhere zero; the global random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = compiled(self.source)()
            with torch.no_grad():
                for p in made.parameters():
                    p.add_(0.5 * torch.randn_like(p))
        return made

    def args(self, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """Example inputs."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return tuple(eval(text, {"torch": torch}) for text in self.inputs)

    def run(self) -> tuple[torch.Tensor, ...]:
        """The output on the example inputs."""
        with torch.no_grad():
            return (self.module()(*self.args()),)

    def script(self, losses: tuple[str, ...], kind: str, line: str) -> str:
        """A script that shows a find."""
        return reproducible(self.source, self.inputs, losses, kind, line)

    @property
    def size(self) -> int:
        """Number of trainable scalars."""
        return sum(p.numel() for p in self.module().parameters() if p.requires_grad)


class Writer:
    """Writes one module: its layers, the lines of its forward, its inputs.

    Args:
        seed: of everything that is drawn.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.made: list[str] = []
        self.body: list[str] = []
        self.inputs: list[str] = []
        self.names: list[str] = []

    def pick(self, options: Sequence[T]) -> T:
        """One of them."""
        return self.random.choice(options)

    def chance(self, of: float) -> bool:
        """True so often."""
        return self.random.random() < of

    def new(self, stem: str) -> str:
        """A name of its own."""
        self.names.append(f"{stem}{len(self.names)}")
        return self.names[-1]

    def layer(self, text: str, stem: str = "layer") -> str:
        """An attribute of the module, as the forward reads it."""
        name = self.new(stem)
        self.made.append(f"self.{name} = {text}")
        return f"self.{name}"

    def say(self, text: str, kind: str, width: int, length: int = 1) -> Value:
        """A line of the forward, and the value that it gives."""
        name = self.new("h")
        self.body.append(f"{name} = {text}")
        return Value(name, kind, width, length)

    def like(self, text: str, h: Value) -> Value:
        """The same for a value of the shape of another."""
        return self.say(text, h.kind, h.width, h.length)
