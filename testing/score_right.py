"""Correct modules in the wrappings that real repositories put around them; none of them may be accused.

Ten blocks stand between two linear layers: checkpointed, compiled, under autocast, in `DistributedDataParallel`, or
ten kernels that compute in float32 and bring a backward of their own, each in two ways; and networks with dead units.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

WIDTH = 8
Block = Callable[[], nn.Module]


@dataclass(frozen=True)
class Right:
    """A correct module.

    Attributes:
        kind: how it is wrapped.
        name: what it is made of.
        make: builds it.
        args: its inputs.
    """

    kind: str
    name: str
    make: Callable[[], nn.Module]
    args: tuple[Tensor, ...]


class Skip(nn.Module):
    """A block with a skip."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        """The input and what the block makes of it."""
        return x + self.inside(x)


class Gate(nn.Module):
    """A gated unit."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """The gated features."""
        return F.silu(self.gate(x)) * self.up(x)


class Attention(nn.Module):
    """Attention of the examples to one another, which are its tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """The mixed tokens."""
        return self.mix(x[None], x[None], x[None], need_weights=False)[0][0]


BLOCKS: dict[str, Block] = {
    "linear, ReLU": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
    "linear, GELU": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU()),
    "layer norm": lambda: nn.LayerNorm(WIDTH),
    "RMS norm": lambda: nn.RMSNorm(WIDTH),
    "batch norm": lambda: nn.BatchNorm1d(WIDTH),
    "dropout": lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.3)),
    "skip": lambda: Skip(nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU())),
    "gate": Gate,
    "attention": Attention,
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)),
}


class Between(nn.Module):
    """A block between two linear layers."""

    def __init__(self, block: nn.Module, call: Callable[[nn.Module, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.first, self.block, self.last, self._call = nn.Linear(4, WIDTH), block, nn.Linear(WIDTH, 3), call

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes."""
        h = self.first(x)
        return self.last(self.block(h) if self._call is None else self._call(self.block, h))


class Cast(Between):
    """The same under autocast."""

    cache = True

    def forward(self, x: Tensor) -> Tensor:
        """Scores, computed in bfloat16 where that is safe."""
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=self.cache):
            return super().forward(x)


class Uncached(Cast):
    """Without the copies that autocast keeps."""

    cache = False


def _checkpointed(reentrant: bool) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda block, h: checkpoint(block, h, use_reentrant=reentrant)


class Single(torch.autograd.Function):
    """A kernel that computes in float32 whatever it is given, and computes again in its backward."""

    @staticmethod
    def forward(ctx: Any, kernel: Callable[..., Tensor], over: bool, *given: Tensor) -> Tensor:
        """The result in the numbers of the input."""
        ctx.kernel, ctx.over = kernel, over
        ctx.save_for_backward(*given)
        return kernel(*(t.float() for t in given)).to(given[0].dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        """The derivative in float32; with `over`, written over the gradient that comes in, as fused kernels do."""
        given = ctx.saved_tensors
        grads = torch.func.vjp(ctx.kernel, *(t.float() for t in given))[1](grad.float())
        if ctx.over and grads[0].shape == grad.shape:
            grad.copy_(grads[0])
            grads = (grad, *grads[1:])
        return None, None, *(g.to(t.dtype) for g, t in zip(grads, given, strict=True))


class Fused(nn.Module):
    """A layer that is one such kernel, with its parameters."""

    def __init__(self, kernel: Callable[..., Tensor], shapes: tuple[tuple[int, ...], ...], over: bool) -> None:
        super().__init__()
        self.kernel, self.over = kernel, over
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(s) * 0.5 + (len(s) == 1)) for s in shapes])

    def forward(self, x: Tensor) -> Tensor:
        """What the kernel gives."""
        out: Tensor = Single.apply(self.kernel, self.over, x, *self.weights)
        return out


def _turned(x: Tensor) -> Tensor:
    angle = torch.arange(x.shape[0], dtype=x.dtype)[:, None] * torch.linspace(0.1, 1.0, WIDTH // 2)
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def _mixed(x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ((x @ q) @ (x @ k).T / WIDTH**0.5).softmax(-1) @ (x @ v)


SQUARE, LINE = (WIDTH, WIDTH), (WIDTH,)
KERNELS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "linear": (F.linear, (SQUARE, LINE)),
    "layer norm": (lambda x, w, b: F.layer_norm(x, (WIDTH,), w, b), (LINE, LINE)),
    "RMS norm": (lambda x, w: F.rms_norm(x, (WIDTH,), w), (LINE,)),
    "SwiGLU": (lambda x, a, b: F.silu(x @ a) * (x @ b), (SQUARE, SQUARE)),
    "GeGLU": (lambda x, a, b: F.gelu(x @ a, approximate="tanh") * (x @ b), (SQUARE, SQUARE)),
    "softcap": (lambda x: 5 * torch.tanh(x / 5), ()),
    "rotary positions": (_turned, ()),
    "attention": (_mixed, (SQUARE, SQUARE, SQUARE)),
    "softmax": (lambda x: x.softmax(-1), ()),
    "group norm": (lambda x, w, b: F.group_norm(x[..., None], 2, w, b)[..., 0], (LINE, LINE)),
}


def right(seed: int = 0) -> Iterator[Right]:
    """The modules, 20 of each kind."""
    g = torch.Generator().manual_seed(seed)
    args = (torch.randn(12, 4, generator=g),)
    wrap: dict[str, Callable[[Block, bool], nn.Module]] = {
        "checkpointed": lambda block, second: Between(block(), _checkpointed(second)),
        "compiled": lambda block, second: _compiled(Between(block()), second),
        "autocast": lambda block, second: (Uncached if second else Cast)(block()),
        "in DistributedDataParallel": lambda block, second: nn.parallel.DistributedDataParallel(
            Between(block()), gradient_as_bucket_view=second
        ),
    }
    for second in (False, True):
        for kind, made in wrap.items():
            for name, block in BLOCKS.items():
                yield Right(kind, name, lambda made=made, block=block, second=second: made(block, second), args)  # type: ignore[misc]
        for name, (kernel, shapes) in KERNELS.items():
            yield Right(
                "float32 kernel",
                name,
                lambda kernel=kernel, shapes=shapes, second=second: Between(Fused(kernel, shapes, second)),  # type: ignore[misc]
                args,
            )
    for number in range(20):
        sizes = (4, 8, 8, 8, 3) if number % 2 else (4, 64, 64, 64, 10)
        yield Right("dead units", f"seed {number}", lambda sizes=sizes: _deep(sizes), args)  # type: ignore[misc]


def _deep(sizes: tuple[int, ...]) -> nn.Module:
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def _compiled(model: nn.Module, own: bool) -> nn.Module:
    torch.compiler.reset()  # else what was compiled before is counted against it
    if own:
        model.compile(backend="aot_eager")
        return model
    made: nn.Module = torch.compile(model, backend="aot_eager")  # type: ignore[assignment]
    return made


@contextmanager
def one_process() -> Iterator[None]:
    """A group of one process, where there is none."""
    if dist.is_initialized():
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        store = dist.FileStore(str(Path(folder) / "store"), 1)  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


__all__ = ["BLOCKS", "KERNELS", "Right", "one_process", "right"]
