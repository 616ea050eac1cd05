"""A module as a flat graph: what it holds, what it leaves alone, and what it refuses in plain words.

This file is long because every way to change a tensor is a module of its own.
"""

import copy
import logging
import random
import types
from collections import namedtuple

import pytest
import torch
from torch import nn

from lawful.graph.tracing.errors import TraceError
from lawful.graph.tracing.program import export_program
from lawful.graph.tracing.purity import name_of
from lawful.graph.tracing.running import program_forward
from lawful.theory.oracle.outputs import named_outputs

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


def ops(program):
    return [program.place(n).op for n in program.graph.nodes if n.op == "call_function"]


def forward_of(function, **modules):
    """A module with a given forward."""

    class Made(nn.Module):
        def __init__(self):
            super().__init__()
            for name, value in modules.items():
                setattr(self, name, value)

    # torch.export keeps the lines of functions called forward
    code = function.__code__.replace(co_name="forward")
    Made.forward = types.FunctionType(code, globals(), closure=function.__closure__)
    Made.forward.__kwdefaults__ = function.__kwdefaults__
    return Made()


def everything(module):
    """All that tracing must leave as it was."""
    return {
        "state": {n: t.clone() for n, t in module.state_dict().items()},
        "identity": [id(t) for t in (*module.parameters(), *module.buffers())],
        "grad": [p.grad if p.grad is None else p.grad.clone() for p in module.parameters()],
        "requires_grad": [p.requires_grad for p in module.parameters()],
        "modes": [m.training for m in module.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()],
        "names": [sorted(vars(m)) for m in module.modules()],
        "random": (torch.get_rng_state(), random.getstate()),
        "torch": (torch.get_default_dtype(), torch.is_grad_enabled(), logging.getLogger("torch.export").level),
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(p, q) for p, q in zip(a, b, strict=True))
    return a == b


def stateful():
    """A module of everything that a careless tracer would change."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    module[3].bias.requires_grad_(False)
    module[1].eval()
    module[0].weight.grad = torch.ones(4, 3)
    module.register_forward_hook(lambda m, args, out: out * 2)
    return module


def draws(self, x):
    """A forward that uses every source of random numbers."""
    return self.inner(x + torch.randn_like(x) * random.random())


def raises(self, x):
    self.inner[1].train()
    self.inner(x)
    raise KeyError("late")


@pytest.mark.parametrize("training", [True, False, None])
def test_the_module_is_left_as_it_was(training):
    module = stateful() if training is None else stateful().train(training)
    before = everything(module)
    x = X.clone().requires_grad_()
    with torch.no_grad():
        program = export_program(module, (x,))
    assert same(before, everything(module)) and x.grad is None and torch.equal(x, X)
    assert ops(program)[-1] == "mul"  # the hook is part of what the module computes
    assert "detach" not in ops(program)  # the gradients of training, whatever the mode around the call


@pytest.mark.parametrize("forward", [draws, raises])
def test_the_module_is_left_as_it_was_by_hard_cases(forward):
    module = forward_of(forward, inner=stateful())
    before = everything(module)
    if forward is draws:
        assert any("random numbers of Python" in note for note in export_program(module, (X,)).limits)
    else:
        with pytest.raises(TraceError, match="raises KeyError"):
            export_program(module, (X,))
    assert same(before, everything(module))


def test_running_statistics_do_not_move_and_their_updates_are_no_part_of_the_graph():
    module = nn.BatchNorm1d(3)
    before = copy.deepcopy(module.state_dict())
    program = export_program(module, (X,))
    assert same(dict(before), dict(module.state_dict()))
    assert ops(program) == ["batch_norm"]
    assert {n for n, _ in program.buffers.values()} == {"running_mean", "running_var"}


class Names(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.v = self.w
        self.spare = nn.Parameter(torch.ones(3))
        self.still = nn.Parameter(torch.ones(3), requires_grad=False)
        self.first = nn.Linear(3, 3)
        self.second = self.first
        self.register_buffer("scale", torch.ones(3), persistent=False)
        self.listed = [nn.Parameter(torch.full((3,), 2.0))]

    def forward(self, x):
        return self.second(self.first((x * self.w + self.v * self.still) * self.scale + self.listed[0]))


def test_parameters_are_known_by_identity():
    module = Names()
    program = export_program(module, (X,))
    assert sorted(program.parameters.values()) == ["first.bias", "first.weight", "still", "w"]
    assert program.aliases == {"v": "w", "second.weight": "first.weight", "second.bias": "first.bias"}
    assert program.unused == ("spare",) and program.frozen == {"still"}
    ((name, tensor),) = program.buffers.values()
    assert name == "scale" and tensor is module.scale
    (constant,) = program.constants.values()
    assert torch.equal(constant, module.listed[0])
    (limit,) = program.limits
    assert limit.startswith("listed[0]: tensors that take gradients and are no parameters")


def test_a_tie_on_the_meta_device_is_found():
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
        module[2].weight = module[0].weight
        program = export_program(module, (torch.zeros(2, 3),))
    assert program.aliases == {"2.weight": "0.weight"}
    assert sorted(program.parameters.values()) == ["0.bias", "0.weight", "2.bias"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_modules_are_read(dtype):
    assert ops(export_program(nn.Linear(3, 2).to(dtype), (X.to(dtype),))) == ["linear"]


def nested(self, x, *rest, batch, flag=None, **more):
    out = x + batch["a"] + batch["b"][0] + rest[0] + more["late"]
    return out if flag else -out


def test_inputs_are_found_in_any_nesting_and_named_as_the_forward_names_them():
    a, b, c, d = (torch.randn(2, 3) for _ in range(4))
    program = export_program(
        forward_of(nested), (X, c), {"late": d, "batch": {"a": a, "b": (b, None, 7)}, "flag": True}
    )
    named = {i.name: i.example for i in program.inputs}
    assert set(named) == {"x", "rest[0]", "late", "batch[a]", "batch[b][0]"}
    assert torch.equal(named["batch[b][0]"], b) and torch.equal(named["late"], d)
    assert "neg" not in ops(program)
    out = program_forward(program)({}, [i.example for i in program.inputs])[0]
    assert torch.allclose(out, X + a + b + c + d)


def test_inputs_that_are_one_tensor_stay_two():
    module = forward_of(lambda self, x, y: x * 2 + y * 3)
    program = export_program(module, (X, X))
    assert [i.name for i in program.inputs] == ["x", "y"]
    assert len({i.node for i in program.inputs}) == 2
    assert all(i.example.data_ptr() != X.data_ptr() for i in program.inputs)
    assert program.notes == ("the inputs x and y were one tensor; they are traced as two",)


def test_a_batch_of_one_is_doubled_where_all_inputs_have_one():
    linear = nn.Linear(3, 2)
    assert export_program(linear, (X[:1],)).inputs[0].example.shape == (2, 3)
    two = forward_of(lambda self, x, table: x @ table)
    shapes = [i.example.shape for i in export_program(two, (X[:1], torch.ones(3, 4))).inputs]
    assert shapes == [(1, 3), (3, 4)]
    fixed = forward_of(lambda self, x: x.reshape(3) * 2)
    program = export_program(fixed, (X[:1],))
    assert program.inputs[0].example.shape == (1, 3) and "single example" in program.notes[0]


Pair = namedtuple("Pair", "mean spread")


@pytest.mark.parametrize(
    ("give", "names"),
    [
        (lambda x: x, ["output"]),
        (lambda x: (x, None, x * 2), ["0", "2"]),
        (lambda x: {"a": x, "b": [x * 2, (x * 3,)], "ids": x.argmax(1)}, ["a", "b[0]", "b[1][0]"]),
        (lambda x: Pair(x * 2, x * 3), ["mean", "spread"]),
        (lambda x: {"logits": x * 2, "past_key_values": (x,), "hidden_states": (x, x)}, ["logits"]),
        (lambda x: (x * 2, torch.zeros(3)), ["0"]),
    ],
)
def test_outputs_have_names(give, names):
    program = export_program(forward_of(lambda self, x: give(x)), (X,))
    assert [n for n, _ in program.outputs] == names


def test_outputs_have_the_names_that_verification_gives_them():
    out = {"logits": X, "none": None, "past_key_values": object(), "more": X}
    assert list(named_outputs(nn.Identity(), out)) == ["logits", "more"]
    assert list(named_outputs(nn.Identity(), Pair(X, X))) == ["mean", "spread"]


def without_gradients(self, x):
    with torch.no_grad():
        table = x * 2
        with torch.enable_grad():
            inner = x * 3
        table = table + self.w
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = x @ self.m
    return y.float() + table + inner


def test_subgraphs_are_inlined_and_what_has_no_gradient_is_marked():
    module = forward_of(without_gradients, w=nn.Parameter(torch.ones(3)), m=nn.Parameter(torch.ones(3, 3)))
    program = export_program(module, (X,))
    assert not any(n.op == "get_attr" for n in program.graph.nodes)
    assert [n.args[0].name for n in program.graph.nodes if name_of(n) == "detach"] == ["add"]
    assert "matmul" in ops(program)


def test_dead_calls_are_gone():
    def forward(self, x):
        (x * 5).sum()
        assert x.shape[0] == 2
        return x.to(torch.float64) * 2

    assert ops(export_program(forward_of(forward), (X,))) == ["to", "mul"]


def writes_into_views(self, x):
    y = x * 2
    mask = torch.zeros(2, 3)
    mask[0, 1:] = 5
    mask[1] += 1
    flat, turned = y.view(6), y.t()
    flat[2:4].mul_(3)
    _, second, third = y.chunk(3, 1)
    second.zero_()
    y[:, None].clamp_(max=1.0)
    rows = y.unbind(0)
    rows[0].copy_(mask[0])
    y.permute(1, 0)[2].masked_fill_(torch.tensor([True, False]), -7.0)
    copied = y.t().reshape(6)
    copied.add_(100)
    return y + mask, turned, flat, third, rows[0] * 1, copied


def test_writes_into_views_become_pure():
    module = forward_of(writes_into_views)
    program = export_program(module, (X,))
    assert not any(n.target._schema.is_mutable for n in program.graph.nodes if hasattr(n.target, "_schema"))
    x = torch.randn(2, 3)
    with torch.no_grad():
        found, expected = program_forward(program)({}, [x.clone()]), module(x.clone())
    assert len(found) == 6
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_a_layer_that_works_in_place_is_its_pure_form():
    program = export_program(nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), (X,))
    assert ops(program) == ["linear", "relu", "linear"]


def test_pieces_of_an_operation_that_is_no_view_are_written_in_place():
    def forward(self, x):
        values, _ = torch.topk(x, 2)
        values /= values.sum(-1, keepdim=True)
        return values

    program = export_program(forward_of(forward), (X,))
    assert ops(program) == ["topk", "getitem", "sum", "div"]


def test_a_place_names_module_and_line():
    def forward(self, x):
        return self.block(x) * 2

    module = forward_of(forward, block=nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    program = export_program(module, (X,))
    linear, relu, mul = (program.place(n) for n in program.graph.nodes if n.op == "call_function")
    assert (linear.module, linear.op) == ("block.0", "linear") and linear.module_type.endswith("Linear")
    assert relu.module == "block.1"
    assert mul.module == "" and mul.line.startswith("tests/") and mul.line.endswith("return self.block(x) * 2")
    assert str(linear).startswith("linear in block.0 (Linear) at ")


def branch(self, x):
    return x if x.sum() > 0 else -x


def loop(self, x):
    for _ in range(int(x.sum().abs())):
        x = x + 1
    return x


def changes_input(self, x):
    x[:, 0].add_(1)
    return x * 2


def changes_parameter(self, x):
    with torch.no_grad():
        self.w.mul_(0.9)
    return x * self.w


def fails(self, x):
    return x @ torch.ones(5, 5)


def picks(self, x):
    return x.masked_select(x > 0) * 2


def overlaps(self, x):
    y = x.sum(0, keepdim=True)
    y.expand(2, 3)[0].add_(1)
    return y


def integers(self, x):
    return x.argmax(1)


def constant(self, x):
    return torch.zeros(2)


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (branch, ["branches on the values", "return x if x.sum() > 0 else -x", "torch.where", "each branch"]),
        (loop, ["branches on the values", "range(int(x.sum().abs()))"]),
        (changes_parameter, ["changes its parameter w in place", "self.w.mul_(0.9)"]),
        (fails, ["raises RuntimeError", "return x @ torch.ones(5, 5)", "example inputs"]),
        (picks, ["shape depends on values", "x.masked_select(x > 0)", "mask"]),
        (overlaps, ["view whose elements overlap", "y.expand(2, 3)[0].add_(1)", "clone"]),
        (integers, ["no tensor of real numbers", "return what a loss reads"]),
        (constant, ["no tensor of real numbers"]),
    ],
)
def test_what_cannot_be_read_is_said(forward, words, capsys):
    module = forward_of(forward, w=nn.Parameter(torch.ones(3)))
    before = everything(module)
    with pytest.raises(TraceError) as caught:
        export_program(module, (X.clone(),))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and "Made" in message
    assert same(before, everything(module))
    assert capsys.readouterr() == ("", "")


def test_what_a_forward_writes_into_its_input_is_work_on_a_copy():
    program = export_program(forward_of(changes_input), (X.clone(),))
    assert any("changes its input x in place" in note for note in program.notes)


def test_what_a_forward_keeps_in_attributes_stays_out_of_the_module():
    def forward(self, x):
        self.seen, self.calls = x * 2, self.calls + 1
        return self.seen + self.inner(x)

    module = forward_of(forward, inner=nn.Linear(3, 3), seen=torch.zeros(1), calls=0)
    assert ops(export_program(module, (X,))) == ["mul", "linear", "add"]
    assert module.calls == 0 and torch.equal(module.seen, torch.zeros(1))


def test_a_module_that_reaches_an_iterator_is_refused():
    module = nn.Linear(3, 2)
    module.stream = (i for i in range(3))
    with pytest.raises(TraceError, match="stream is an iterator"):
        export_program(module, (X,))


def test_a_call_without_tensors_is_refused():
    with pytest.raises(TraceError, match=r"no tensor is among the inputs of Linear; pass example inputs"):
        export_program(nn.Linear(3, 2), (3,), {"more": None})


def test_arguments_that_the_forward_does_not_take_are_its_own_error():
    with pytest.raises(TraceError, match=r"raises TypeError: .* takes 2 positional arguments"):
        export_program(nn.Linear(3, 2), (X, X))
