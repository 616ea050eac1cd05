"""The rebuilt network against the module: what agrees, and who is to blame where it does not."""

import copy

import pytest
import torch
from torch import nn

from lawful.graph.tracing.compare import compare
from lawful.graph.tracing.program import export_program
from lawful.graph.tracing.running import draw_inputs, program_forward

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


def functional(module, broken=lambda p: p):
    """The module itself as the rebuilt network, at parameters that `broken` may change."""
    twin = copy.deepcopy(module)

    def forward(params, inputs):
        buffers = {n: b.double() if b.is_floating_point() else b.clone() for n, b in twin.named_buffers()}
        out = torch.func.functional_call(twin, {**broken(params), **buffers}, tuple(inputs))
        return tuple(out) if isinstance(out, (tuple, list)) else (out,)

    return forward


def state(module):
    return {n: t.clone() for n, t in module.state_dict().items()}, [m.training for m in module.modules()]


@pytest.mark.parametrize("training", [True, False])
def test_a_network_agrees_with_itself(training):
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))
    module.train(training)
    before, modes = state(module)
    rng = torch.get_rng_state()
    program = export_program(module, (X,))
    twin = copy.deepcopy(module)
    twin[3].eval()
    found = compare(program, module, functional(twin))
    assert found.agrees and found.outputs <= 1e-14 and found.gradients <= 1e-13, found
    assert "agrees" in found.summary and "batch of 3" in found.summary
    after, modes_after = state(module)
    assert modes == modes_after and all(torch.equal(before[n], after[n]) for n in before)
    assert all(p.grad is None for p in module.parameters())
    assert torch.equal(rng, torch.get_rng_state()) and torch.get_default_dtype() == torch.float32


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True)
        self.rnn = nn.LSTM(4, 3, num_layers=2, dropout=0.5, batch_first=True)

    def forward(self, x):
        x = nn.functional.dropout(self.inner(x, x, x, need_weights=False)[0], 0.3, self.training)
        x = nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.2)
        return self.rnn(x)[0]


def test_every_kind_of_dropout_is_off():
    module = Attention()
    program = export_program(module, (torch.randn(2, 3, 4),))
    twin = copy.deepcopy(module)
    twin.inner.dropout = twin.rnn.dropout = 0.0

    def forward(params, inputs):
        (x,) = inputs
        p = {n: params[f"inner.{n}"] for n in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")}
        q, k, v = (x @ p["in_proj_weight"].T + p["in_proj_bias"]).chunk(3, -1)
        heads = [
            torch.softmax(a @ b.transpose(1, 2) / 2**0.5, -1) @ c
            for a, b, c in zip(q.split(2, -1), k.split(2, -1), v.split(2, -1), strict=True)
        ]
        x = torch.cat(heads, -1) @ p["out_proj.weight"].T + p["out_proj.bias"]
        x = torch.softmax(x @ x.transpose(1, 2) / 2, -1) @ x
        return (
            torch.func.functional_call(twin.rnn, {n[4:]: t for n, t in params.items() if n[:4] == "rnn."}, (x,))[0],
        )

    assert compare(program, module, forward).agrees
    exported = compare(program, module, program_forward(program), lambda batch, g: draw_inputs(program, 2, g))
    assert exported.agrees and exported.outputs < 1e-13


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0]


class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.second(Cube.apply(self.first(x)))


def test_a_custom_backward_is_blamed_on_the_module():
    module = Custom()
    program = export_program(module, (X,))

    def forward(p, inputs):
        hidden = (inputs[0] @ p["first.weight"].T + p["first.bias"]) ** 3
        return (hidden @ p["second.weight"].T + p["second.bias"],)

    found = compare(program, module, forward)
    assert not found.agrees and found.outputs < 1e-12 and found.gradients > 0.1
    assert found.worst.startswith("first.")
    assert "custom backward" in found.summary and found.worst in found.summary


def test_a_wrong_gradient_of_the_rebuilt_network_is_ours():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    program = export_program(module, (X,))
    found = compare(program, module, functional(module, lambda p: {**p, "0.weight": p["0.weight"].detach()}))
    assert not found.agrees and found.worst == "0.weight"
    assert "rebuilt network differs" in found.summary and "bug of lawful" in found.summary


def test_a_wrong_output_of_the_rebuilt_network_is_ours():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    program = export_program(module, (X,))
    found = compare(program, module, functional(module, lambda p: {**p, "0.bias": p["0.bias"] * 1.001}))
    assert not found.agrees and found.worst == "output" and "rebuilt network differs" in found.summary


@pytest.mark.parametrize("wrong", [lambda x: x * float("nan"), lambda x: x[:1], lambda x: x.sum()])
def test_nan_and_other_shapes_never_agree(wrong):
    module = nn.Linear(3, 2)
    program = export_program(module, (X,))
    right = functional(module)
    found = compare(program, module, lambda p, x: (wrong(right(p, x)[0]),))
    assert not found.agrees and not found.outputs <= 1


def test_a_rebuilt_network_that_raises_does_not_agree():
    def forward(p, x):
        raise RuntimeError("no such wire")

    module = nn.Linear(3, 2)
    found = compare(export_program(module, (X,)), module, forward)
    assert not found.agrees and "no such wire" in found.summary


class Shaped(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(x) if x.shape[0] == 2 else self.linear(x).square()


def test_a_branch_on_the_shape_is_found():
    module = Shaped()
    program = export_program(module, (X,))
    found = compare(program, module, lambda p, x: (x[0] @ p["linear.weight"].T + p["linear.bias"],))
    assert not found.agrees and "shape-dependent branch" in found.summary


class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.randn(2, 3))

    def forward(self, x):
        return (x.reshape(2, 3) * self.position).sum(1)


def test_a_batch_size_that_is_built_in_is_said():
    module = Fixed()
    found = compare(export_program(module, (X,)), module, functional(module))
    assert found.agrees and "batch of 2 (the module takes no other" in found.summary


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.tied = nn.Linear(4, 7, bias=False)
        self.tied.weight = self.embed.weight
        self.embed.weight.requires_grad_(True)
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)

    def forward(self, ids, mask=None):
        return {"logits": self.tied(self.embed(ids) * mask[..., None] * self.frozen), "ids": ids}


def test_integers_masks_ties_and_frozen_parameters():
    module = Masked()
    ids, mask = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[1, 1, 0], [1, 0, 0]])
    program = export_program(module, (ids,), {"mask": mask})
    drawn = draw_inputs(program, 3, torch.Generator().manual_seed(0))
    assert drawn[0].shape == (3, 3) and int(drawn[0].max()) <= 5
    assert torch.equal(drawn[1], mask[[0, 1, 0]])

    def forward(p, inputs):
        tokens, kept = inputs
        return (
            nn.functional.embedding(tokens, p["embed.weight"]) * kept[..., None] * p["frozen"] @ p["embed.weight"].T,
        )

    assert compare(program, module, forward).agrees


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_exported_graph_is_the_module_in_float64(dtype):
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 2)).to(dtype)
    program = export_program(module, (X.to(dtype),))
    found = compare(program, module, program_forward(program), lambda batch, g: draw_inputs(program, 2, g))
    assert found.agrees and found.outputs < 1e-13


def test_a_network_without_trained_parameters_compares_outputs_only():
    module = nn.Linear(3, 2).requires_grad_(False)
    found = compare(export_program(module, (X,)), module, functional(module))
    assert found.agrees and found.gradients == 0
    zero = compare(export_program(module, (X,)), module, lambda p, x: (torch.zeros(3, 2),))
    assert not zero.agrees


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x):
        return {"first": self.a(x), "second": self.b(x)}


@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_the_worst_of_several_outputs_is_named(factor):
    module = Two()

    def forward(p, inputs):
        (x,) = inputs
        return x @ p["a.weight"].T + p["a.bias"], (x @ p["b.weight"].T + p["b.bias"]) * factor

    found = compare(export_program(module, (X,)), module, forward)
    assert found.agrees == (factor == 1) and (found.agrees or found.worst == "second")


def test_a_module_that_knows_no_float64_is_not_compared():
    class Narrow(nn.Linear):
        def forward(self, x):
            if x.dtype == torch.float64:
                raise RuntimeError("expected Float")
            return super().forward(x)

    module = Narrow(3, 2)
    found = compare(export_program(module, (X,)), module, functional(nn.Linear(3, 2)))
    assert (
        not found.agrees and "not compared: the module does not run in float64: RuntimeError: expected" in found.summary
    )


def test_a_graph_of_vmap_runs_by_itself():
    class Mapped(nn.Linear):
        def forward(self, x):
            return torch.vmap(super().forward)(x)

    module = Mapped(3, 2)
    program = export_program(module, (X,))
    right = functional(nn.Linear(3, 2))
    assert compare(program, module, right).agrees
    found = compare(program, module, lambda p, x: (right(p, x)[0] * 2,))
    assert not found.agrees and found.fault and "the exported graph agrees" in found.summary
