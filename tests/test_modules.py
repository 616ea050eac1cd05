"""The strategy of plain modules: programs that print, run, shrink, and reach everything that a module can do."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, Phase, find, given, settings
from torch import nn
from torch.nn import functional as F

from lawful.testing.author import LARGEST
from lawful.testing.modules import class_axes, judged, modules
from lawful.testing.programs import CALLS, Constant, Program, Source, Step, Weight, call, shrunk
from lawful.testing.survey import one

QUICK = settings(max_examples=40, suppress_health_check=list(HealthCheck))
REACHED = settings(max_examples=15_000, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


@QUICK
@given(modules())
def test_a_module_is_data_that_prints_and_runs(program: Program) -> None:
    names = {"Program": Program, "Source": Source, "Weight": Weight, "Constant": Constant, "Step": Step}
    assert eval(repr(program), names) == program
    assert 0 < program.size <= LARGEST
    scope = {"torch": torch, "nn": nn, "F": F}
    exec(program.source, scope)
    state = torch.random.get_rng_state()
    module = program.module(3)
    assert torch.equal(state, torch.random.get_rng_state())
    written = scope["Plain"]()
    written.load_state_dict(module.state_dict())
    for one_way, other in zip(outputs(module, program), outputs(written, program), strict=True):
        torch.testing.assert_close(one_way, other, equal_nan=True)
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == program.size


def outputs(module: nn.Module, program: Program) -> tuple[torch.Tensor, ...]:
    out = module(*program.args())
    return (out,) if isinstance(out, torch.Tensor) else tuple(out)


def test_every_instruction_runs_what_it_prints() -> None:
    x = torch.randn(2, 3)
    assert torch.equal(call("combine")(x, x, 0.5), x + 0.5 * x)
    assert torch.equal(call("pick")(x, -1, (0, 2)), x[:, [0, 2]])
    assert all("{0}" in text for text in CALLS.values())


def test_a_find_shrinks_to_what_matters() -> None:
    """Hypothesis and the program's own reduction both end at the gate and nothing else."""
    program, _ = next(found for found in map(one, range(1000)) if {"tanh", "multiply"} <= found[0].calls)
    small = shrunk(program, lambda p: "tanh" in p.calls and p.reads_inputs and bool(p.module()(*p.args()) is not None))
    assert "tanh" in small.calls and len(small.steps) <= 3
    found = find(modules(), lambda p: "tanh" in p.calls, settings=settings(max_examples=2000))
    assert len(found.steps) <= 8


def test_a_reproduction_is_a_script_that_rebuilds_the_program() -> None:
    program, losses = one(17)
    text = program.script(losses, "false", "a line")
    compile(text, "reproduction", "exec")
    line = next(line for line in text.splitlines() if line.startswith("# judge("))
    names = {"Program": Program, "Source": Source, "Weight": Weight, "Constant": Constant, "Step": Step}
    assert eval(line.removeprefix("# judge"), names) == (program, losses)


def test_numbers_name_modules() -> None:
    assert one(5) == one(5)
    assert len({repr(one(i)) for i in range(20)}) >= 19


def uses(program: Program, name: str) -> list[tuple[str, int]]:
    """The calls that read a value, with the place of the operand."""
    return [(s.call, i) for s in program.steps for i, o in enumerate(s.operands) if o == name]


def together(*calls: str) -> Callable[[Program], bool]:
    """A program in which one value is read by all these calls."""
    return lambda p: any(set(calls) <= {c for c, _ in uses(p, v)} for v in values(p))


def values(program: Program) -> list[str]:
    return [v.name for v in (*program.inputs, *program.parameters, *program.steps)]


def of_parameters(*calls: str) -> Callable[[Program], bool]:
    """A program that computes one of these of parameters alone."""

    def found(program: Program) -> bool:
        made = {w.name for w in program.parameters}
        for s in program.steps:
            names = [o for o in s.operands if isinstance(o, str)]
            if names and all(n in made for n in names):
                made.add(s.name)
                if s.call in calls:
                    return True
        return False

    return found


def of_input(*calls: str) -> Callable[[Program], bool]:
    """A program that computes one of these of an input alone."""

    def found(program: Program) -> bool:
        made = {x.name for x in program.inputs} | {c.name for c in program.constants}
        for s in program.steps:
            names = [o for o in s.operands if isinstance(o, str)]
            if all(n in made for n in names):
                made.add(s.name)
                if s.call in calls:
                    return True
        return False

    return found


def uses_one(first: tuple[str, int], second: tuple[str, int]) -> Callable[[Program], bool]:
    """A program in which one parameter has both places."""
    return lambda p: any({first, second} <= set(uses(p, w.name)) for w in p.parameters)


def calls(*names: str) -> Callable[[Program], bool]:
    return lambda p: set(names) <= p.calls


GATES = ("relu", "abs", "leaky", "max0", "where", "gate", "clamp")
CASES: dict[str, Callable[[Program], bool]] = {
    **{f"calls {name}": calls(name) for name in CALLS},
    "weight and transposed": lambda p: any(
        {c for c, _ in uses(p, w.name)} >= {"t"} and ("linear", 1) in uses(p, w.name) for w in p.parameters
    ),
    "bias and gain": uses_one(("linear_bias", 2), ("multiply", 1)),
    "table and head": uses_one(("embedding", 1), ("linear", 1)),
    "gain and frozen map": lambda p: any(w.frozen for w in p.parameters) and "multiply" in p.calls,
    "sum of two weights": of_parameters("add"),
    "difference of two weights": of_parameters("subtract"),
    "a sum of rows": of_parameters("sum", "mean"),
    "A + B, then A": lambda p: any(
        {"add"} <= {c for c, _ in uses(p, w.name)} and ("linear", 1) in uses(p, w.name) for w in p.parameters
    ),
    "b + b": lambda p: (
        any(s.call == "add" and s.operands[0] == s.operands[1] for s in p.steps) and of_parameters("add")(p)
    ),
    "cat of biases": of_parameters("cat"),
    "cat of features twice": lambda p: any(s.call == "cat" and s.operands[0] == s.operands[1] for s in p.steps),
    "repeated parameter": of_parameters("repeat", "expand"),
    "product of weights": of_parameters("matmul"),
    "normalised weight": of_parameters("unit", "centre", "softmax"),
    "masked weight": of_parameters("multiply"),
    "part of a weight": of_parameters("features", "head_of", "tail_of"),
    "unread features": lambda p: any(
        s.call == "features" and len(uses(p, s.operands[0])) == 1 and s.operands[0] not in p.outputs for s in p.steps
    ),
    "sum of slices": lambda p: any(
        s.call == "add" and {x.call for x in p.steps if x.name in s.operands} == {"features"} for s in p.steps
    ),
    "product of slices": lambda p: any(
        s.call == "multiply" and {x.call for x in p.steps if x.name in s.operands} == {"features"} for s in p.steps
    ),
    "h + .5 A h": lambda p: any(s.call == "combine" and s.operands[2] == 0.5 for s in p.steps),
    "centred input": of_input("centre"),
    "normalised input": of_input("layer_norm", "rms", "unit"),
    "padded input": of_input("pad"),
    "padded input with ones": of_input("pad_ones"),
    "softmax of the input": of_input("softmax"),
    "input twice": of_input("cat"),
    "masked input": of_input("multiply"),
    "relu and abs of one": together("relu", "abs"),
    "relu of one that is read itself": together("relu", "linear"),
    "three gates of one": lambda p: any(len({c for c, _ in uses(p, v)} & set(GATES)) >= 2 for v in values(p)),
    "norm without epsilon": lambda p: any(s.call.startswith("layer_norm") and 0.0 in s.operands[2:3] for s in p.steps),
    "norm with epsilon": lambda p: any(s.call.startswith("layer_norm") and 1e-5 in s.operands[2:3] for s in p.steps),
    "padded convolution": lambda p: any(s.call.startswith("conv") and 1 in s.operands[2:3] for s in p.steps),
    "attention": calls("matmul", "softmax", "transpose"),
    "queries that are keys": lambda p: any(
        s.call == "matmul" and any(x.name == s.operands[1] and x.operands[0] == s.operands[0] for x in p.steps)
        for s in p.steps
    ),
    "two tables added": lambda p: sum(s.call == "embedding" for s in p.steps) >= 2,
    "frozen in the middle": lambda p: any(w.frozen and ("linear", 1) in uses(p, w.name) for w in p.parameters),
    "several outputs": lambda p: len(p.outputs) > 1,
    "images": lambda p: len(p.inputs[0].shape) == 4,
    "tokens": lambda p: p.inputs[0].words > 0,
}


@functools.cache
def drawn() -> frozenset[str]:
    """The cases that are among the first modules."""
    seen: set[str] = set()

    @settings(max_examples=800, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(modules())
    def collect(program: Program) -> None:
        seen.update(case for case, wanted in CASES.items() if case not in seen and wanted(program))

    collect()
    return frozenset(seen)


@pytest.mark.parametrize("case", CASES)
def test_the_strategy_reaches_every_case(case: str) -> None:
    """A case that one module in a thousand has is looked for in `make nightly`; nearly all are found at once."""
    if case in drawn():
        return
    if os.environ.get("HYPOTHESIS_PROFILE") != "nightly":
        assert len(drawn()) > 0.75 * len(CASES)
        pytest.skip("rare: make nightly looks for it")
    find(modules(), CASES[case], settings=REACHED)


def test_both_losses_and_the_axis_of_images_are_drawn() -> None:
    for loss in ("mse", "cross_entropy"):
        assert find(judged(), lambda found, loss=loss: loss in found[1], settings=REACHED)
    found = find(judged(), lambda f: 1 in class_axes(f[0]) and "cross_entropy" in f[1], settings=REACHED)
    assert class_axes(found[0]) == (1,) * len(found[1])
    assert find(judged(), lambda f: len(set(f[1])) == 2, settings=REACHED)
