"""Kernels that write by address, as Triton's do, or that torch has no formula for; layouts; sparse constants."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lawful.testing import assert_lawful

X = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
SEQ = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(10) % 4


class Net(nn.Module):
    def __init__(self, right: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.right = nn.Linear(6, 6), nn.Linear(6, 4), right
        self.w = nn.Parameter(torch.rand(6) + 0.5)

    def middle(self, h):
        raise NotImplementedError

    def forward(self, x):
        return self.b(self.middle(self.a(x)) * self.w)


def launch(out, kernel, *given):
    """What torch does not see: a kernel that gets addresses."""
    out.detach().numpy()[...] = kernel(*(t.detach().numpy() for t in given))


class Launched(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, right):
        y = torch.empty_like(x)
        launch(y, np.tanh, x)
        ctx.save_for_backward(y)
        ctx.right = right
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y * y if ctx.right else 1 - y), None


class OverItsInput(Launched):
    @staticmethod
    def forward(ctx, x, right):
        launch(x, np.tanh, x)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.right = right
        return x


@torch.library.custom_op("kitkernels::tanh_out", mutates_args={"out"})
def tanh_out(out: torch.Tensor, x: torch.Tensor) -> None:
    out.copy_(x.tanh())


class WithOut(Launched):
    @staticmethod
    def forward(ctx, x, right):
        y = torch.empty_like(x)
        tanh_out(y, x)
        ctx.save_for_backward(y)
        ctx.right = right
        return y


RAW = torch.library.Library("kitraw", "DEF")
RAW.define("tanh(Tensor x) -> Tensor")
RAW.impl("tanh", lambda x: torch.from_numpy(np.tanh(x.numpy())), "CPU")


class Extension(Launched):
    """A kernel of an extension, which has no formula of its own."""

    @staticmethod
    def forward(ctx, x, right):
        y = torch.ops.kitraw.tanh(x)
        ctx.save_for_backward(y)
        ctx.right = right
        return y


class PartlySeen(Launched):
    """What the kernel wrote, and the rest by torch."""

    @staticmethod
    def forward(ctx, x, right):
        y = torch.zeros_like(x)
        launch(y, np.tanh, x)
        ctx.save_for_backward(y, x)
        ctx.right = right
        return y + x

    @staticmethod
    def backward(ctx, g):
        y, _ = ctx.saved_tensors
        return g * (2 - y * y if ctx.right else 1 - y * y), None


class Middle(Net):
    function = Launched

    def middle(self, h):
        return self.function.apply(h.clone(), self.right)


class LossKernel(torch.autograd.Function):
    """A cross-entropy whose gradient is made in the forward; torch sees only the mean."""

    @staticmethod
    def forward(ctx, z, t, right):
        p, loss = torch.empty_like(z), torch.zeros(len(z), dtype=z.dtype)
        launch(p, lambda a: np.exp(a) / np.exp(a).sum(1, keepdims=True), z)
        launch(loss, lambda q, k: -np.log(q[np.arange(len(k)), k]), p, t)
        d = p - F.one_hot(t, z.shape[-1])
        ctx.save_for_backward(d / len(z) if right else d)
        return loss.mean()

    @staticmethod
    def backward(ctx, g):
        return ctx.saved_tensors[0] * g, None, None


class WithLoss(Net):
    def forward(self, x, t):
        return LossKernel.apply(self.b(self.a(x) * self.w), t, self.right)


@pytest.mark.parametrize(
    "function", [Launched, OverItsInput, WithOut, Extension, PartlySeen, LossKernel], ids=lambda f: f.__name__
)
def test_a_kernel_that_torch_does_not_see_is_measured(function) -> None:
    kind = WithLoss if function is LossKernel else type("Made", (Middle,), {"function": function})
    args = (X, LABELS) if function is LossKernel else X
    found = assert_lawful(kind(), args)
    assert not any("straight-through" in n for n in found.notes)
    with pytest.raises(AssertionError, match=f"the backward of {function.__name__}") as error:
        assert_lawful(kind(right=False), args)
    assert "written at: test_kit_kernels.py" in str(error.value) and "a.weight" in str(error.value)


def test_what_writes_into_memory_without_a_formula_is_no_witness() -> None:
    class Writes(Net):
        def middle(self, h):
            y = h.exp()
            tanh_out(y.data, h.data)
            return y

    with pytest.raises(AssertionError, match="have no witness") as error:
        assert_lawful(Writes(), X)
    assert "tanh_out writes into memory, and torch has no formula for it (Writes, test_kit_kernels.py" in str(
        error.value
    )


class InOrder(torch.autograd.Function):
    """A backward that reads the memory of its gradient."""

    @staticmethod
    def forward(ctx, x, right):
        ctx.right = right
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        g = g.contiguous() if ctx.right else g
        if g.untyped_storage().nbytes() < g.numel() * g.element_size():
            raise RuntimeError("cannot read that")
        return 2 * g.as_strided(g.shape, torch.empty(g.shape, device="meta").stride()), None


class Ordered(Net):
    def middle(self, h):
        return InOrder.apply(h, self.right).tanh()


def test_a_backward_that_takes_its_gradient_to_lie_in_order() -> None:
    assert assert_lawful(Ordered(), SEQ).verdict.passed
    with pytest.raises(AssertionError, match=r"lies in memory transposed: is contiguous\(\) missing") as error:
        assert_lawful(Ordered(right=False), SEQ)
    assert "right for gradients as they come here" in str(error.value)


class Filled(Net):
    """A mask that numpy fills."""

    def middle(self, h):
        mask = torch.zeros(6, 6)
        mask.numpy()[...] = np.triu(np.ones((6, 6)))
        return h @ mask.to(h)


class Graph(Net):
    def __init__(self, right: bool = True) -> None:
        super().__init__(right)
        self.register_buffer("adjacency", (torch.eye(10).roll(1, 0) * torch.arange(1.0, 11)).to_sparse())

    def middle(self, h):
        return Sparse.apply(h, self.adjacency, self.right).relu()


class Sparse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, a, right):
        ctx.save_for_backward(a)
        ctx.right = right
        return torch.sparse.mm(a, x)

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return torch.sparse.mm(a.t() if ctx.right else a, g), None, None


class Compressed(Net):
    def middle(self, h):
        return (torch.eye(len(h)).roll(1, 0).to(h).to_sparse_csr() @ h).relu()


class Values(torch.autograd.Function):
    """A sparse matrix of values that are learned, which torch builds inside."""

    at = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])

    @staticmethod
    def forward(ctx, x, v, right):
        ctx.save_for_backward(x, v)
        ctx.right = right
        return torch.sparse.mm(torch.sparse_coo_tensor(Values.at, v, (6, 6)), x.T).T

    @staticmethod
    def backward(ctx, g):
        x, v = ctx.saved_tensors
        row, column = Values.at if ctx.right else Values.at.flip(0)
        dense = torch.zeros(6, 6, dtype=v.dtype).index_put((Values.at[0], Values.at[1]), v)
        return g @ dense, (g[:, row] * x[:, column]).sum(0), None


class Learned(Net):
    def middle(self, h):
        return Values.apply(h, self.w, self.right)


@pytest.mark.parametrize("kind", [Filled, Graph, Compressed, Learned])
def test_constants_without_a_memory_of_their_own(kind: type[Net]) -> None:
    assert assert_lawful(kind(), X).verdict.passed


@pytest.mark.parametrize("kind", [Graph, Learned])
def test_a_wrong_backward_with_a_sparse_matrix(kind: type[Net]) -> None:
    with pytest.raises(AssertionError, match=f"the backward of {'Sparse' if kind is Graph else 'Values'}"):
        assert_lawful(kind(right=False), X)


def test_what_has_no_memory_is_compared_with_slopes() -> None:
    class Ragged(Net):
        def forward(self, x):
            return self.b(torch.cat(self.a(torch.nested.as_nested_tensor([x[:4], x[4:]])).unbind()) * self.w)

    found = assert_lawful(Ragged(), X)
    assert "it computes with a nested tensor" in str(found)
    assert set(found.vouched("derivative")) == set(found.parameters) and not found.vouched("reference")


class Taken(torch.autograd.Function):
    """Something of its features is taken away, and by its backward of the gradient: of a constant nothing is left."""

    @staticmethod
    def forward(ctx, x, how):
        y = AWAY[how][0](x)
        ctx.how = how
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        return AWAY[ctx.how][1](g, *ctx.saved_tensors), None


def _normed(g, x, y):
    inverse = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
    return inverse * (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True))


AWAY = {
    "the mean of features": (lambda x: x - x.mean(-1, keepdim=True), lambda g, x, y: g - g.mean(-1, keepdim=True)),
    "the mean of examples": (lambda x: x - x.mean(0, keepdim=True), lambda g, x, y: g - g.mean(0, keepdim=True)),
    "LayerNorm": (lambda x: F.layer_norm(x, x.shape[-1:]), _normed),
    "softmax": (lambda x: x.softmax(-1), lambda g, x, y: y * (g - (g * y).sum(-1, keepdim=True))),
}


@pytest.mark.parametrize("how", AWAY)
@pytest.mark.parametrize("width", [6, 11, 48])
def test_rounding_of_a_gradient_that_vanishes_is_no_wrong_layout(how: str, width: int) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.o = nn.Linear(3, width), nn.Linear(width, 2)

        def forward(self, x):
            return self.o(Taken.apply(self.a(x), how))

    for seed in range(2):
        torch.manual_seed(seed)
        assert assert_lawful(Model(), torch.randn(9, 3), seed=seed).verdict.passed
