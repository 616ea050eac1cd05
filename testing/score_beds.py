"""Small networks, and wrong backward passes to plant behind their submodules: the forward computes the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from lawful.theory.losses import LossLike

Change = Callable[[torch.Tensor], torch.Tensor]


class Planted(torch.autograd.Function):
    """The identity, with a backward that does something else."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, change: Change) -> torch.Tensor:  # type: ignore[no-untyped-def]
        """Gives what it gets."""
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor | None, None]:  # type: ignore[no-untyped-def]
        """Sends on something else."""
        return ctx.change(grad), None


class Kernel(Planted):
    """The same, where no kernel of torch shows what the forward does."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, change: Change) -> torch.Tensor:  # type: ignore[no-untyped-def]
        """Gives what it gets, through numpy."""
        ctx.change = change
        return torch.from_numpy(x.detach().numpy().copy())


class Address(Planted):
    """The same by a kernel that gets addresses, as Triton's do: torch sees only the memory that it is to fill."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, change: Change) -> torch.Tensor:  # type: ignore[no-untyped-def]
        """Gives what it gets, in memory that was made before."""
        ctx.change = change
        out = torch.empty_like(x)
        out.numpy()[...] = x.detach().numpy()
        return out


def _behind(change: Change) -> Change:
    return lambda x: Planted.apply(x, change)


def _masked(grad: torch.Tensor) -> torch.Tensor:
    return grad * (torch.arange(grad.shape[-1], device=grad.device) > 0)


def _rows(grad: torch.Tensor) -> torch.Tensor:
    return torch.cat([grad[:-1], torch.zeros_like(grad[-1:])])


def _detached_part(x: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return torch.cat([x[..., :half].detach(), x[..., half:]], -1)


def _half_seen(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x + 0.5 * x.detach()


FAULTS: dict[str, Change] = {
    "twice": _behind(lambda g: 2 * g),
    "sign": _behind(lambda g: -g),
    "2e-3 off in one feature": _behind(lambda g: g + 2e-3 * (g - _masked(g))),
    "a feature missing": _behind(_masked),
    "the last example missing": _behind(_rows),
    "features shifted by one": _behind(lambda g: g.roll(1, -1)),
    "averaged over the features": _behind(lambda g: g.mean(-1, keepdim=True).expand_as(g)),
    "averaged over the batch": _behind(lambda g: g.mean(0, keepdim=True).expand_as(g)),
    "a foreign kernel, twice": lambda x: Kernel.apply(x, lambda g: 2 * g),
    "a kernel by address, a feature missing": lambda x: Address.apply(x, _masked),
    "a part detached": _detached_part,
    "seen by half": _half_seen,
}
RIGHT: dict[str, Change] = {
    "right": _behind(lambda g: g),
    "right, a foreign kernel": lambda x: Kernel.apply(x, lambda g: g),
    "right, a kernel by address": lambda x: Address.apply(x, lambda g: g),
}


@dataclass(frozen=True)
class Bed:
    """A network to plant faults in.

    Attributes:
        make: builds it.
        at: the submodule whose output is changed.
        args: its inputs.
        loss: of its output.
    """

    make: Callable[[], nn.Module]
    at: str
    args: tuple[torch.Tensor, ...]
    loss: LossLike = "mse"


class Tied(nn.Module):
    """A language model with one table."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(9, 6), nn.Linear(6, 6)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Scores of the next word."""
        return torch.tanh(self.mix(self.table(ids))) @ self.table.weight.T


class Residual(nn.Module):
    """A block with a skip."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The input and the branch."""
        return x + self.branch(x)


class Gated(nn.Module):
    """A gated unit."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The gated features."""
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


class Last(nn.Module):
    """The outputs of a recurrent layer, and a head."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.pick, self.head = layer, nn.Identity(), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores at every position."""
        return self.head(self.pick(self.layer(x)[0]))


def beds(seed: int = 0) -> dict[str, Bed]:
    """The networks."""
    g = torch.Generator().manual_seed(seed)
    x, image, tokens = (torch.randn(s, generator=g) for s in ((12, 4), (4, 3, 8, 8), (3, 5, 8)))
    ids = torch.randint(9, (4, 5), generator=g)
    conv = [nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm]

    def cnn(norm: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(
            conv[0](3, 6, 3),
            norm(),
            nn.ReLU(),
            conv[0](6, 4, 3),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 3),
        )

    def mlp(*inside: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(nn.Linear(4, 8), *(i() for i in inside), nn.Linear(8, 3))

    return {
        "perceptron": Bed(mlp(nn.ReLU), "0", (x,)),
        "deep perceptron": Bed(mlp(nn.ReLU, lambda: nn.Linear(8, 8), nn.GELU), "2", (x,), "cross_entropy"),
        "layer norm": Bed(mlp(lambda: nn.LayerNorm(8), nn.ReLU), "1", (x,)),
        "RMS norm": Bed(mlp(lambda: nn.RMSNorm(8), nn.SiLU), "1", (x,)),
        "batch norm": Bed(mlp(lambda: nn.BatchNorm1d(8), nn.ReLU), "1", (x,)),
        "residual": Bed(
            mlp(lambda: Residual(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)))), "1.branch.0", (x,)
        ),
        "convolution": Bed(cnn(nn.Identity), "3", (image,)),
        "convolution with norm": Bed(cnn(lambda: nn.GroupNorm(2, 6)), "1", (image,)),
        "transformer layer": Bed(
            lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), nn.Linear(8, 3)),
            "0.linear1",
            (tokens,),
        ),
        "tied table": Bed(Tied, "table", (ids,), "cross_entropy"),
        "gated unit": Bed(Gated, "gate", (x,)),
        "recurrent": Bed(lambda: Last(nn.LSTM(8, 6, batch_first=True)), "pick", (tokens,)),
    }


__all__ = ["FAULTS", "RIGHT", "Bed", "Change", "beds"]
