"""Tracing torch modules: names, sharing, what is not understood, and what is refused.

This file is long because one small module stands beside each way to write it.
"""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful import blocks as b
from lawful.theory.parts import base, is_part, read, with_parts


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """The same weights in every run: a layer whose units are all dead shows no law."""
    torch.manual_seed(0)


def verified(module: nn.Module, *args: torch.Tensor, loss: str = "mse") -> lw.LawSet:
    """The laws of a module, each verified on the module itself."""
    laws = lw.derive(module, loss, args=args)
    report = lw.verify(module, laws, args=args)
    bad = [r for r in report.laws if r.verdict not in (lw.Verdict.HOLDS, lw.Verdict.APPROXIMATE)]
    assert not bad, bad
    return laws


def complete(module: nn.Module, *args: torch.Tensor, loss: str = "mse") -> lw.LawSet:
    """As `verified`, and as many independent laws as the oracle counts."""
    laws = verified(module, *args, loss=loss)
    count = lw.count(lw.trace(module, *args), loss)
    assert count.verdict.passed and count.laws == laws.independent, (count, laws.independent, list(laws))
    return laws


class Packed(nn.Module):
    """Attention with q, k and v of every head side by side, as in GPT-NeoX."""

    def __init__(self, interleaved: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(3, 12)
        self.out = nn.Linear(4, 2)
        self.interleaved = interleaved

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.qkv(x)
        if self.interleaved:
            q, k, v = y.view(*x.shape[:2], 2, 6).transpose(1, 2).chunk(3, -1)
        else:
            q, k, v = y.view(*x.shape[:2], 3, 2, 2).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Written(nn.Module):
    """RMSNorm written out, with a cast to float32 as published models have it, and a gain of `1 + w`."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(3, 4), nn.Linear(4, 2)
        self.weight = nn.Parameter(torch.randn(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(x)
        z = y.to(torch.float32)
        z = z * torch.rsqrt(z.pow(2).mean(-1, keepdim=True))
        return self.down((1.0 + self.weight.float()) * z.type_as(y))


class Grouped(nn.Module):
    """Two query heads on one key head, eager, with a causal mask; the keys are repeated by expand and reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(3, 4, bias=False), nn.Linear(3, 2, bias=False), nn.Linear(3, 2)
        self.o = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, _ = x.shape
        q = self.q(x).view(n, t, 2, 2).transpose(1, 2)
        k, v = (m(x).view(n, t, 1, 2).transpose(1, 2) for m in (self.k, self.v))
        k, v = (y[:, :, None].expand(n, 1, 2, t, 2).reshape(n, 2, t, 2) for y in (k, v))
        scores = torch.matmul(q, k.transpose(2, 3)) / 2**0.5
        scores = scores + torch.full((t, t), torch.finfo(x.dtype).min).triu(1)
        y = torch.matmul(scores.softmax(-1, dtype=torch.float32).to(q.dtype), v)
        return self.o(y.transpose(1, 2).reshape(n, t, -1))


class Functional(nn.Module):
    """Parameters of its own, no submodules, and a weight that is stored transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(4, 2))
        self.bias = nn.Parameter(torch.randn(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu_(F.linear(x, self.a, self.bias))
        return torch.addmm(torch.zeros(2), 2 * h, self.c)


@pytest.mark.parametrize("interleaved", [False, True])
def test_packed_projections_are_cut_into_parts(interleaved: bool) -> None:
    laws = complete(Packed(interleaved), torch.randn(2, 3, 3))
    assert laws.where(kind="balance")
    assert laws.independent == 2 * 3 + 2 * 3 + 4  # q with k and v with o of two heads, the biases of keys


def test_norms_written_out_are_norms() -> None:
    laws = verified(Written(), torch.randn(4, 3))
    assert laws.independent == 4 + 1


def test_repeated_keys_are_grouped_queries() -> None:
    arch = lw.trace(Grouped(), torch.randn(2, 4, 3))
    core = next(arch.block(n) for n in arch.nodes if isinstance(arch.block(n), b.DotProductAttention))
    assert (core.heads, core.kv_heads, core.causal) == (2, 1, True)
    complete(Grouped(), torch.randn(2, 3, 3))


def test_a_functional_model_has_its_own_names() -> None:
    laws = complete(Functional(), torch.randn(5, 3))
    assert set(laws[0].parameters) == {"a", "bias", "c"}


def test_names_and_values_are_those_of_the_module() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    (law,) = lw.derive(model, args=(torch.randn(2, 3),))
    w1, b1, w2 = model[0].weight, model[0].bias, model[2].weight
    expected = (w1**2).sum(1) + b1**2 - (w2**2).sum(0)
    assert torch.allclose(law.value(model).double().abs(), expected.double().abs(), atol=1e-6)


def test_parts_are_slices_of_the_parameter() -> None:
    w = torch.arange(24.0).reshape(6, 4)
    assert torch.equal(read("w[2:4]", {"w": w}), w[2:4])
    assert torch.equal(read("w.view(2,3,4)[:,1:2]", {"w": w}), w.view(2, 3, 4)[:, 1:2])
    assert torch.equal(read("w.permute(1,0)", {"w": w}), w.T)
    assert base("a.w.view(2,3,4)[:,1:2]") == "a.w" and is_part("w[0:1]") and not is_part("layer.0.weight")
    assert set(with_parts({"w": w}, ["w[0:1]", "v[0:1]"])) == {"w", "w[0:1]"}
    with pytest.raises(KeyError):
        read("v[0:1]", {"w": w})


def test_the_gradient_of_a_law_of_parts_is_that_of_whole_parameters() -> None:
    model = Packed(True)
    laws = lw.derive(model, args=(torch.randn(2, 3, 3),))
    law = next(w for w in laws.where(kind="balance") if any(is_part(p) for p in w.parameters))
    gradient = law.gradient(model, index=(0,) * law.value(model).ndim)
    assert set(gradient) <= set(dict(model.named_parameters()))


def test_tied_frozen_shared_and_unused_parameters() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(5, 3)
            self.position = nn.Embedding(6, 3)
            self.layer = nn.Linear(3, 3)
            self.spare = nn.Linear(2, 2)
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.embed.weight
            self.layer.bias.requires_grad_(False)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.embed(ids) + self.position(torch.arange(ids.shape[1]))
            return self.head(self.layer(torch.relu(self.layer(x))))

    model, ids = Model(), torch.randint(5, (2, 3))
    ids[0, 0] = 4
    arch = lw.trace(model, ids)
    assert arch.trace is not None
    assert arch.trace.aliases == {"head.weight": "embed.weight"}
    assert arch.trace.unused == ("spare.weight", "spare.bias")
    assert arch.frozen == {"layer.bias"}
    laws = lw.derive(arch)
    still = {p: law.count for law in laws.where(kind="frozen") for p in law.parameters}
    assert still == {"spare.weight": 4, "spare.bias": 2, "position.weight[3:6]": 9}
    assert lw.verify(model, laws, args=(ids,)).verdict is lw.Verdict.HOLDS


class Strange(nn.Module):
    """A map between two linear ones that no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.randn(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.logcumsumexp(self.second(F.leaky_relu(self.first(x), 0.3)), -1)
        return self.third(torch.cumprod(y * 0.5 + self.scale, -1))


def test_what_is_not_understood_is_named() -> None:
    laws = verified(Strange(), torch.randn(2, 3))
    arch = lw.trace(Strange(), torch.randn(2, 3))
    assert arch.trace is not None
    ops = [op for op in arch.trace.opaque]
    assert [op.op for op in ops] == ["logcumsumexp", "cumprod"]
    assert "test_trace.py" in ops[0].line and ops[0].module_type.endswith("Strange")
    assert any("logcumsumexp" in note and "test_trace.py" in note for note in laws.notes)
    known = [law.parameters for law in laws if law.kind == "balance"]
    assert known == [("first.weight", "first.bias", "second.weight")]
    assert "opaque" in arch.trace.summary


def test_parameters_that_only_an_opaque_operation_uses_are_counted() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
            self.table = nn.Parameter(torch.randn(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x) @ torch.logcumsumexp(self.table, 0))

    arch = lw.trace(Hidden(), torch.randn(2, 3))
    assert arch.trace is not None
    assert sum(op.shadowed for op in arch.trace.opaque) == 16
    assert lw.derive(arch).independent == lw.count(arch).laws


def test_a_user_can_teach_an_operation() -> None:
    library = torch.library.Library("lawful_tests", "FRAGMENT")
    library.define("soft(Tensor x, float scale) -> Tensor")
    library.impl("soft", lambda x, scale: torch.tanh(x * scale), "CompositeExplicitAutograd")
    library.impl("soft", lambda x, scale: torch.tanh(x * scale), "Autograd")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.middle, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.middle(torch.ops.lawful_tests.soft(self.first(x), 0.5)))

    model, x = Model(), torch.randn(2, 3)
    assert [op.op for op in lw.trace(model, x).trace.opaque] == ["soft"]  # type: ignore[union-attr]

    @lw.register_op(torch.ops.lawful_tests.soft)
    def soft(call, x, scale):  # type: ignore[no-untyped-def]
        return call(b.Pointwise("tanh"), call(b.Scale(scale), x, feature=None), feature=None)

    arch = lw.trace(model, x)
    assert arch.trace is not None and not arch.trace.opaque
    assert lw.derive(arch).independent == 10
    with pytest.raises(TypeError, match="expected an operation"):
        lw.register_op(3)


class Stopped(nn.Module):
    """A part of the forward that sends no gradient back."""

    def __init__(self, alone: bool) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.alone = alone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.leaky_relu(self.first(x), 0.3)
        with torch.no_grad():
            z = self.middle(y)
        return self.last(z if self.alone else y + z)


@pytest.mark.parametrize("alone", [False, True])
def test_no_law_crosses_what_is_computed_without_gradients(alone: bool) -> None:
    arch = lw.trace(Stopped(alone), torch.randn(2, 3))
    assert arch.trace is not None
    assert [op.reason for op in arch.trace.opaque] == ["it is computed without gradients"]
    with torch.device("meta"):
        unchecked = lw.derive(Stopped(alone), args=(torch.randn(2, 3),))
    for laws in (lw.derive(arch), unchecked):
        assert not any(p.startswith(("middle", "last")) for law in laws for p in law.parameters)


class Wrong(torch.autograd.Function):
    """A square whose backward is that of something else."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        return g * ctx.saved_tensors[0]


class Refused(nn.Module):
    """Modules whose graph is not what they do."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.layer, self.last = kind, nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        if self.kind == "backward":
            y = Wrong.apply(y)
        elif self.kind == "shape" and x.shape[0] > 2:
            y = torch.tanh(y)
        elif self.kind == "data" and y.sum() > 0:
            y = torch.tanh(y)
        return self.last(y)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("backward", "backwards that are written by hand are taken as they are"),
        ("data", r"run on the example.*values of a tensor.*test_trace\.py"),
        ("shape", r"run on the example.*depends on the shape of its input"),
    ],
)
def test_what_no_graph_shows_is_read_as_it_runs_and_said(kind: str, message: str) -> None:
    laws = lw.derive(Refused(kind), args=torch.randn(2, 3))
    assert any(re.search(message, note) for note in laws.notes)


def test_inputs_that_are_one_tensor_are_two_ports() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.a(x) * self.b(y)

    x = torch.randn(2, 3)
    arch = lw.trace(Two(), x, x)
    assert len(arch.inputs) == 2 and arch.trace is not None
    assert any("one tensor" in note for note in arch.trace.notes)


def test_meta_device_gives_shapes_only() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        x = torch.randn(2, 3)
    arch = lw.trace(model, x)
    assert arch.trace is not None and arch.trace.comparison is None
    assert lw.derive(arch).independent == 4


def test_a_traced_network_of_plain_blocks_shrinks() -> None:
    arch = lw.trace(nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 20)), torch.randn(2, 30))
    small = arch.shrink()
    assert sum(p.size for p in small.parameters.values()) < 400
    assert lw.check(arch).lawful


def test_deriving_a_module_needs_inputs() -> None:
    with pytest.raises(b.ShapeError, match="example inputs"):
        lw.derive(nn.Linear(2, 2))


def test_weights_from_safetensors(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch_files = pytest.importorskip("safetensors.torch")
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    torch_files.save_file(model.state_dict(), tmp_path / "weights.safetensors")
    (law,) = lw.derive(model, args=(torch.randn(2, 3),))
    assert torch.equal(law.value(torch_files.load_file(tmp_path / "weights.safetensors")), law.value(model))
