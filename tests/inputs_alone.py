"""Random modules whose input passes through operations without parameters before anything is trained."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Step = Callable[[Tensor], Tensor]

# operations on the features, the last axis
STEPS: dict[str, Step] = {
    "centre": lambda x: x - x.mean(-1, keepdim=True),
    "normalise": lambda x: F.layer_norm(x, x.shape[-1:]),
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(-1),
    "pad": lambda x: F.pad(x, (1, 1)),
    "pad ones": lambda x: F.pad(x, (0, 2), value=1.0),
    "repeat": lambda x: torch.cat([x, x], -1),
    "mirror": lambda x: torch.cat([x, -x.flip(-1)], -1),
    "slice": lambda x: x[..., 1:],
    "abs": lambda x: x.abs(),
    "relu": lambda x: x.relu(),
    "square": lambda x: x * x,
    "cumsum": lambda x: x.cumsum(-1),
    "difference": lambda x: x - x.roll(1, -1),
    "flip": lambda x: x.flip(-1),
    "roll": lambda x: x.roll(1, -1),
    "unit": lambda x: F.normalize(x, dim=-1),
    "powers": lambda x: torch.cat([x, x * x], -1),
    "sum beside": lambda x: torch.cat([x, x.sum(-1, keepdim=True)], -1),
    "first thrice": lambda x: torch.cat([x, x[..., :1], x[..., :1]], -1),
    "outer": lambda x: (x[..., :2, None] * x[..., None, :2]).flatten(-2),
    "one hot": lambda x: (x.argmax(-1, keepdim=True) == torch.arange(x.shape[-1])).to(x.dtype),
    "scaled": lambda x: (x - 0.5) / 0.25,
    "signs": lambda x: torch.cat([x.relu(), (-x).relu()], -1),
    "masked": lambda x: x * torch.tensor([1.0] + [0.0] + [1.0] * (x.shape[-1] - 2)).to(x),
}
# operations on the tokens, the axis before
TOKEN_STEPS: dict[str, Step] = {
    "token mean": lambda x: x - x.mean(-2, keepdim=True),
    "all equal": lambda x: x.mean(-2, keepdim=True).expand_as(x),
    "doubled": lambda x: torch.cat([x, x], -2),
    "tokens back": lambda x: x.flip(-2),
    "tokens padded": lambda x: F.pad(x, (0, 0, 1, 1)),
    "running": lambda x: x.cumsum(-2),
    "clock": lambda x: torch.cat([x, torch.arange(x.shape[-2]).to(x)[:, None].expand(*x.shape[:-1], 1)], -1),
}
INTEGER_STEPS: dict[str, Step] = {
    "modulo": lambda i: i % 3,
    "clamped": lambda i: i.clamp(max=2),
    "shifted": lambda i: i + 1,
    "back": lambda i: i.flip(-1),
    "next": lambda i: torch.cat([i[:, 1:], i[:, :1]], 1),
    "doubled": lambda i: torch.cat([i, i], 1),
    "even": lambda i: 2 * i,
    "same": lambda i: i,
}
TOKENS = torch.tensor([[0, 4, 1], [3, 2, 5]])
TAILS = ("linear", "plain linear", "relu", "gelu", "two readers", "gain", "beside", "squares")
TOKEN_TAILS = ("linear", "convolution", "attention", "flat", "mean")


class Prepared(nn.Module):
    """A few trained layers on what some operations make of the input."""

    def __init__(self, steps: list[Step], tail: str, width: int) -> None:
        super().__init__()
        self.steps, self.tail = steps, tail
        with torch.no_grad():
            x = self.prepare(torch.zeros(2, *((3, width) if tail.startswith("token ") else (width,))) + 0.1)
        n = x.shape[-1]
        kind = tail.removeprefix("token ")
        if kind in ("linear", "mean"):
            self.a = nn.Linear(n, 3)
        elif kind == "plain linear":
            self.a = nn.Linear(n, 3, bias=False)
        elif kind in ("relu", "gelu", "squares"):
            self.a, self.b = nn.Linear(n, 3, bias=kind != "squares"), nn.Linear(3, 3)
        elif kind == "two readers":
            self.a, self.b = nn.Linear(n, 3), nn.Linear(n, 3)
        elif kind == "gain":
            self.gain, self.a = nn.Parameter(torch.rand(n) + 0.5), nn.Linear(n, 3)
        elif kind == "beside":
            self.a, self.b = nn.Linear(n, 3), nn.Linear(width, 3)
        elif kind == "convolution":
            self.a = nn.Conv1d(n, 3, 2)
        elif kind == "attention":
            self.q, self.k, self.v = (nn.Linear(n, 2, bias=False) for _ in range(3))
            self.a = nn.Linear(2, 3)
        elif kind == "flat":
            self.a = nn.Linear(n * x.shape[-2], 3)

    def prepare(self, x: Tensor) -> Tensor:
        """What stands before all parameters."""
        for step in self.steps:
            x = step(x)
        return x

    def forward(self, given: Tensor) -> Tensor:
        """The layers of the tail."""
        x, kind = self.prepare(given), self.tail.removeprefix("token ")
        if kind in ("linear", "plain linear"):
            return self.a(x)
        if kind == "mean":
            return self.a(x).mean(-2)
        if kind == "relu":
            return self.b(F.leaky_relu(self.a(x), 0.3))
        if kind == "gelu":
            return self.b(F.gelu(self.a(x)))
        if kind == "squares":
            return self.b(self.a(x) ** 2)
        if kind == "two readers":
            return self.a(x) * self.b(x)
        if kind == "gain":
            return self.a(self.gain * x)
        if kind == "beside":
            return self.a(x) + self.b(given)
        if kind == "convolution":
            return self.a(x.transpose(1, 2)).transpose(1, 2)
        if kind == "attention":
            return self.a(F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x)))
        return self.a(x.flatten(1))


class Looked(nn.Module):
    """A table of rows that whole numbers pick after some operations on them."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self.steps = steps
        with torch.no_grad():
            rows = 1 + int(self.prepare(TOKENS).max())
        self.table, self.head = nn.Embedding(rows, 2), nn.Linear(2, 3)

    def prepare(self, tokens: Tensor) -> Tensor:
        """What stands before the table."""
        for step in self.steps:
            tokens = step(tokens)
        return tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """The head on the rows."""
        return self.head(self.table(self.prepare(tokens)))


def drawn(seed: int) -> tuple[str, nn.Module, Tensor]:
    """A module with its name and an example input."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    if rng.random() < 0.15:
        names = rng.choices(list(INTEGER_STEPS), k=rng.choice((1, 1, 2)))
        return " ".join(names), Looked([INTEGER_STEPS[n] for n in names]), TOKENS
    width = rng.choice((3, 4))
    token = rng.random() < 0.3
    steps = STEPS | TOKEN_STEPS if token else STEPS
    names = rng.choices(list(steps), k=rng.choice((1, 1, 2, 3)))
    tail = "token " + rng.choice(TOKEN_TAILS) if token else rng.choice(TAILS)
    x = torch.randn(2, 3, width) if token else torch.randn(2, width)
    return f"{' '.join(names)} > {tail}", Prepared([steps[n] for n in names], tail, width), x
