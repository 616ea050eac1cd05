"""Third derivatives of what modules run, as the oracle takes them, against finite differences of plain autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn import functional as F

from lawful.theory.oracle.composed import COMPOSED
from lawful.theory.oracle.double import double


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, f) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f(x)


class Attention(nn.Module):
    """Self-attention of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x, x, x)[0]


def square(z: torch.Tensor) -> torch.Tensor:
    """Rows of four numbers as regular matrices of two by two."""
    return z.view(-1, 2, 2) + 2 * torch.eye(2, dtype=z.dtype)


ROWS, IMAGE, TOKENS = (5, 4), (3, 2, 5, 5), (2, 3, 4)
attend = F.scaled_dot_product_attention
KERNELS = {
    "layer_norm": (nn.LayerNorm(4), ROWS),
    "layer_norm, two axes": (nn.LayerNorm((3, 4)), TOKENS),
    "rms_norm": (nn.RMSNorm(4), ROWS),
    "group_norm": (nn.GroupNorm(2, 4), IMAGE),
    "batch_norm": (nn.BatchNorm1d(4), ROWS),
    "batch_norm of an image": (nn.BatchNorm2d(4), IMAGE),
    "batch_norm in evaluation": (nn.BatchNorm1d(4).eval(), ROWS),
    "instance_norm": (nn.InstanceNorm2d(4, affine=True), IMAGE),
    "instance_norm with statistics": (nn.InstanceNorm2d(4, track_running_stats=True), IMAGE),
    "local response": (nn.LocalResponseNorm(2), IMAGE),
    "softmax": (nn.Softmax(-1), ROWS),
    "log_softmax": (nn.LogSoftmax(-1), ROWS),
    "gelu": (nn.GELU(), ROWS),
    "silu": (nn.SiLU(), ROWS),
    "mish": (nn.Mish(), ROWS),
    "softplus": (nn.Softplus(), ROWS),
    "elu": (nn.ELU(), ROWS),
    "hardswish": (nn.Hardswish(), ROWS),
    "glu": (nn.GLU(), ROWS),
    "prelu": (nn.PReLU(), ROWS),
    "attention": (Call(lambda z: attend(z, z, torch.tanh(z))), TOKENS),
    "causal attention": (Call(lambda z: attend(z, z, torch.tanh(z), is_causal=True)), TOKENS),
    "multi-head attention": (Attention(), TOKENS),
    "encoder layer": (nn.TransformerEncoderLayer(4, 2, 3, 0.0, "gelu", batch_first=True), TOKENS),
    "encoder layer in evaluation": (nn.TransformerEncoderLayer(4, 2, 3, batch_first=True).eval(), TOKENS),
    "weight_norm": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), ROWS),
    "convolution": (nn.Sequential(nn.Conv2d(4, 2, 2), nn.Tanh(), nn.ConvTranspose2d(2, 2, 2)), IMAGE),
    "max_pool": (nn.MaxPool2d(2), IMAGE),
    "avg_pool": (nn.AvgPool2d(2), IMAGE),
    "cosine": (Call(lambda z: F.cosine_similarity(z[:, None], z.exp()[None], dim=-1)), ROWS),
    "normalize": (Call(lambda z: F.normalize(z, dim=-1)), ROWS),
    "solve": (Call(lambda z: torch.linalg.solve(square(z), z[:, :2])), ROWS),
    "solve from the right": (Call(lambda z: torch.linalg.solve(square(z), z.view(-1, 2, 2), left=False)), ROWS),
    "det": (Call(lambda z: torch.linalg.det(square(z))), ROWS),
    "slogdet": (Call(lambda z: torch.slogdet(square(z))[1]), ROWS),
    "inverse": (Call(lambda z: square(z).inverse()), ROWS),
    "var": (Call(lambda z: torch.sqrt(z.var(-1) + 0.1)), ROWS),
    "layer norm by hand": (Call(lambda z: (z - z.mean(-1, True)) / (z.std(-1, keepdim=True) + 0.1)), ROWS),
    "std_mean": (Call(lambda z: sum(torch.std_mean(z, -1))), ROWS),
    "norm": (Call(lambda z: z.norm(dim=-1)), ROWS),
    "vector_norm": (Call(lambda z: torch.linalg.vector_norm(z, 3, -1)), ROWS),
    "logsumexp": (Call(lambda z: z.logsumexp(-1)), ROWS),
    "cumprod": (Call(lambda z: z.cumprod(-1)), ROWS),
    "prod": (Call(lambda z: z.prod(-1)), ROWS),
    "atan2": (Call(lambda z: torch.atan2(z[:, :2], z[:, 2:])), ROWS),
    "hypot": (Call(lambda z: torch.hypot(z[:, :2], z[:, 2:])), ROWS),
    "matrix_exp": (Call(lambda z: torch.matrix_exp(square(z))), ROWS),
    "pinv": (Call(lambda z: torch.linalg.pinv(square(z))), ROWS),
    "cholesky": (Call(lambda z: torch.linalg.cholesky(square(z) @ square(z).mT)), ROWS),
    "eigenvalues": (Call(lambda z: torch.linalg.eigvalsh(square(z) + square(z).mT)), ROWS),
    "einsum": (Call(lambda z: torch.einsum("ij,ik,il->ijkl", z, z, z)), ROWS),
    "erf": (Call(torch.erf), ROWS),
    "mse_loss": (Call(lambda z: F.mse_loss(z, torch.ones_like(z))), ROWS),
    "interpolate": (Call(lambda z: F.interpolate(z, scale_factor=2, mode="bilinear")), IMAGE),
}


@pytest.mark.parametrize("name", KERNELS)
def test_third_derivatives_are_those_of_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    kernel, shape = KERNELS[name]
    first = nn.Conv2d(2, 4, 2) if shape is IMAGE else nn.Linear(4, 4)
    net, x = nn.Sequential(first, kernel).double(), torch.randn(shape, dtype=torch.float64)
    named = dict(net.named_parameters())
    sizes = [p.numel() for p in named.values()]
    theta = torch.cat([p.detach().reshape(-1) for p in named.values()])
    theta = theta + 0.3 * torch.randn_like(theta)
    buffers = {n: v.clone() for n, v in net.named_buffers()}

    def run(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        own = {n: p.reshape(named[n].shape) for n, p in zip(named, t.split(sizes), strict=True)}
        return torch.tanh(functional_call(net, own | {n: v.clone() for n, v in buffers.items()}, (x,)))

    w = torch.randn_like(run(theta, x))
    u, v = torch.randn_like(theta), torch.randn_like(theta)

    def potential(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        with double():
            return (run(t, x) * w).sum()

    def along(f, direction):
        return lambda t, x: jvp(lambda s: f(s, x), (t,), (direction,))[1]

    third = vmap(along(along(grad(potential), u), v), (None, 0))(theta, x.expand(2, *x.shape))[0]

    def slope(t: torch.Tensor) -> torch.Tensor:
        t = t.clone().requires_grad_()
        return torch.autograd.grad((run(t, x) * w).sum(), t)[0]

    def second_difference(h: float) -> torch.Tensor:
        corners = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
        return sum(s * slope(theta + i * h * u + j * h * v) for i, j, s in corners) / (4 * h * h)

    wanted = (4 * second_difference(1e-4) - second_difference(2e-4)) / 3
    assert float((third - wanted).abs().max() / wanted.abs().max()) < 3e-4


SAME = {
    F.layer_norm: lambda f, x: f(x, (5,), torch.arange(5.0), torch.ones(5), 0.1),
    F.rms_norm: lambda f, x: f(x, (5,), torch.arange(5.0), 0.1),
    F.group_norm: lambda f, x: f(x, 2, torch.arange(4.0), torch.ones(4), 0.1),
    F.batch_norm: lambda f, x: f(
        x, torch.ones(4), torch.ones(4) * 2, torch.arange(4.0), torch.ones(4), False, 0.1, 0.2
    ),
    torch.batch_norm: lambda f, x: f(
        x, torch.arange(4.0), None, torch.ones(4), torch.ones(4) * 2, False, 0.1, 0.2, False
    ),
    F.instance_norm: lambda f, x: f(x, weight=torch.arange(4.0), bias=torch.ones(4), eps=0.2),
    torch.instance_norm: lambda f, x: f(x, torch.arange(4.0), None, None, None, True, 0.1, 0.2, False),
    torch.native_layer_norm: lambda f, x: f(x, (5,), torch.arange(5.0), torch.ones(5), 0.1)[0],
    F.glu: lambda f, x: f(x, 1),
    F.hardsigmoid: lambda f, x: f(3 * x),
    torch.linalg.solve: lambda f, x: f(x[:, :, :4] + 3 * torch.eye(4), x[:, :, 4]),
    torch.linalg.det: lambda f, x: f(x[:, :, :4]),
    torch.linalg.slogdet: lambda f, x: torch.cat(tuple(f(x[:, :, :4]))),
    torch.var: lambda f, x: torch.cat([f(x, -1).flatten(), f(x, [1, 2], correction=0), f(x, False)[None], f(x, 0)[0]]),
    torch.std: lambda f, x: torch.cat([f(x, -1, False), f(x)[None, None].expand(3, 4)]),
    torch.var_mean: lambda f, x: torch.stack(f(x, -1, keepdim=True) + f(x, dim=[1], keepdim=False)[:0]),
    torch.std_mean: lambda f, x: torch.stack(f(x, dim=(0, 2), correction=0)),
    F.mse_loss: lambda f, x: torch.stack([f(x, x.sin()), f(x, x.sin(), reduction="sum")]),
    torch._weight_norm: lambda f, x: f(x, torch.arange(1.0, 4.0)[:, None, None], 0),
}


@pytest.mark.parametrize("kernel", SAME, ids=lambda f: f.__name__)
def test_compositions_compute_the_same(kernel) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(SAME[kernel](COMPOSED[kernel], x), SAME[kernel](kernel, x))


def test_the_variance_of_complex_numbers_is_real() -> None:
    z = torch.complex(torch.randn(3, 5), torch.randn(3, 5))
    torch.testing.assert_close(COMPOSED[torch.var](z, -1), torch.var(z, -1))
