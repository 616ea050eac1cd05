"""Networks with several outputs: engine = oracle for every loss on each, files, modules, training, random heads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest
import torch
from agreement import agree, heads
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from networks import linear, relu_block

from lawful import blocks as b
from lawful.dynamics.train import train
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.drawing.draw import dot, mermaid
from lawful.graph.questions.check import check, gradient_rank, verify
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.testing import assert_conserved, assert_lawful
from lawful.theory.losses import CrossEntropy
from lawful.theory.verdict import Verdict

core, rms = b.LayerNormCore, b.RMSNormCore
F64 = torch.float64

# Several outputs

TWO = {"digit": linear(2, 3, True), "angle": linear(2, 1, True)}
# name: (network, losses, laws)
SEVERAL = {
    "two heads": (heads(linear(3, 2) >> b.ReLU(), a=linear(2, 3), c=linear(2, 3)), ("cross_entropy", "mse"), 4),
    "a head of one logit": (heads(linear(3, 2) >> b.ReLU(), **TWO), "cross_entropy + bce", 5),
    "three heads": (
        heads(linear(3, 2), a=linear(2, 3), c=linear(2, 1), d=linear(2, 3)),
        ("hinge", "bce", "cosine"),
        6,  # 3 of the trunk, 2 columns, 1 norm
    ),
    "parts of one map": (linear(3, 6, True) >> b.Split((3, 3)), ("cross_entropy", "cosine"), 5),
    "two shifts of one map": (linear(3, 6, True) >> b.Split((3, 3)), "cross_entropy", 8),
    "one wire under two losses": (
        b.Wiring({"a": linear(3, 2) >> linear(2, 3)}, {"a": ("input",)}, ("a", "a")),
        ("cross_entropy", "cosine"),
        3,  # together they see everything
    ),
    "one wire under two losses that see alike": (
        b.Wiring({"a": linear(3, 2) >> linear(2, 3)}, {"a": ("input",)}, ("a", "a")),
        ("cross_entropy", "kl"),
        5,
    ),
}


@pytest.mark.parametrize("name", sorted(SEVERAL))
def test_several_outputs(name: str) -> None:
    net, losses, laws = SEVERAL[name]
    agree(Architecture(net), losses, laws)


def deep(first: b.Net, second: b.Net) -> Architecture:
    """Deep supervision: the wire between the two is an output as well."""
    return Architecture(b.Wiring({"h": first, "z": second}, {"h": ("input",), "z": ("h",)}, ("h", "z")))


DEEP = {
    # losses: laws of linear - (ReLU, linear), of two linear maps with a bias before, and with LayerNorm between
    ("mse", "mse"): (0, 0, 3),
    ("mse", "cross_entropy"): (3, 3, 6),
    ("cross_entropy", "mse"): (0, 1, 7),
    ("cross_entropy", "cross_entropy"): (3, 4, 10),
    ("cosine", "mse"): (1, 1, 4),
    ("cosine", "cross_entropy"): (4, 4, 7),
    ("cosine", "cosine"): (2, 2, 5),
}


@pytest.mark.parametrize("losses", sorted(DEEP))
def test_a_wire_read_by_an_output_as_well_as_by_blocks(losses: tuple[str, str]) -> None:
    relu, plain, norm = DEEP[losses]
    agree(deep(linear(3, 3), b.ReLU() >> linear(3, 3)), losses, relu)
    agree(deep(linear(3, 3, True), linear(3, 3)), losses, plain)
    agree(deep(linear(3, 4, True), core(4, 0.0) >> linear(4, 3)), losses, norm)


@pytest.mark.parametrize(("main", "router", "laws"), [("mse", "mse", 4), ("mse", "kl", 8), ("cosine", "mse", 5)])
def test_an_auxiliary_loss_on_a_router(main: str, router: str, laws: int) -> None:
    """Logits that only softmax and a shift-blind loss read keep the column sums of their map and the sum of the bias.

    Three of the 4 laws are those of the two ReLU experts' hidden units and the linear expert beside them.
    """
    expert = [linear(3, 2) >> b.ReLU() >> linear(2, 3) for _ in range(2)]
    nodes = {"logits": linear(3, 3, True), "p": b.Softmax(), "e0": expert[0], "e1": expert[1], "e2": linear(3, 3)}
    reads = {n: ("input",) for n in nodes} | {"p": ("logits",), "mix": ("p", "e0", "e1", "e2")}
    net = b.Wiring(nodes | {"mix": b.Mixture()}, reads, ("mix", "logits"))
    agree(Architecture(net, b.Signal(3)), {"mix": main, "logits": router}, laws)


def test_outputs_have_names_signals_and_sites() -> None:
    arch = Architecture(heads(linear(3, 2) >> b.ReLU(), **TWO))
    assert arch.output_names == ["2.digit", "2.angle"]
    assert [s.features for s in arch.outputs] == [3, 1]
    assert [s.name for s in arch.diagram().sites][-2:] == ["output:0", "output:1"]
    assert str(arch).endswith("3 features -> 3 features and 1 features>")
    with pytest.raises(b.ShapeError, match=r"the network has 2 outputs \(2.digit, 2.angle\); use outputs"):
        _ = arch.output
    named, ordered = derive(arch, {"angle": "bce", "digit": "ce"}), derive(arch, ("cross_entropy", "bce"))
    assert named.loss == ordered.loss == "cross_entropy + bce"
    assert [law.terms for law in named] == [law.terms for law in ordered]
    assert derive(arch, "mse").loss == "mse + mse"
    with pytest.raises(b.ShapeError, match="'output:1', which stands for an end"):
        Architecture.from_parts(
            {"output:1": linear(3, 3)}, [("input", 0, "output:1", 0)], [("output:1", 0)], arch.inputs
        )


def test_forward_gives_a_tuple_and_modules_do() -> None:
    arch = Architecture(heads(linear(3, 2) >> b.ReLU(), **TWO))
    generator = torch.Generator().manual_seed(0)
    values, inputs = arch.random_parameters(generator), arch.random_inputs(5, generator)
    first, second = arch.forward(values, inputs)
    assert first.shape == (5, 3) and second.shape == (5, 1)
    module = arch.to_torch(F64)
    module.load_state_dict(values)
    assert all(torch.equal(x, y) for x, y in zip(module(*inputs), (first, second), strict=True))
    only = Architecture(linear(3, 2))
    assert only.forward(only.random_parameters(generator), only.random_inputs(5, generator)).shape == (5, 2)


def test_a_file_keeps_the_outputs_in_order() -> None:
    arch = Architecture(heads(linear(3, 2) >> b.ReLU(), **TWO))
    back = Architecture.from_json(arch.to_json())
    assert back.output_names == arch.output_names and back.to_json() == arch.to_json()
    data = json.loads(arch.to_json())
    assert data["output"] == [["2.digit", 0], ["2.angle", 0]]
    for value, message in [
        ([["2.digit", 0], ["z", 0]], r"output\[1\] reads from 'z'"),
        ([["2.digit", 0], ["2.angle", 1]], r"output\[1\] reads port 1 of 2.angle"),
        ([["2.digit", 0]], "output port 0 of 2.angle is open"),
        ([["2.digit", 0], ["2.angle"]], r"output\[1\] is a list of 1, expected \[source node, source port\]"),
        ([], r"output is a list of 0, expected \[source node, source port\]"),
    ]:
        with pytest.raises(b.ShapeError, match=message):
            Architecture.from_json(json.dumps(data | {"output": value}))


def test_the_whole_check_of_a_large_network_with_several_outputs() -> None:
    trunk = linear(30, 20) >> relu_block(20, 30) >> relu_block(20, 30)
    arch = Architecture(heads(trunk, digit=linear(20, 10, True), angle=linear(20, 1), embedding=linear(20, 16)))
    losses = {"digit": CrossEntropy(range(1, 11), 0.1), "angle": "bce", "embedding": "cosine"}
    small = arch.shrink()
    assert len(small.outputs) == 3 and small.outputs[1].features == 1
    report = check(arch, losses)
    assert report.lawful, report.summary
    assert report.laws.independent == 20 * 21 // 2 + 2 * 30 + 21 + 1  # the stream, hidden units, shifts, one norm


def test_drawings_show_every_output() -> None:
    arch = Architecture(heads(linear(3, 2) >> b.ReLU(), **TWO))
    laws = derive(arch, "cross_entropy + bce")
    for name in ("output:0", "output:1"):
        assert name in dot(arch, laws)
    assert mermaid(arch, laws).count(":::end") == 3


def test_training_by_the_names_of_losses_obeys_the_identity() -> None:
    arch = Architecture(heads(linear(3, 2) >> b.ReLU(), **TWO))
    losses = {"digit": CrossEntropy((1, 2, 3), 0.1), "angle": "bce"}
    generator = torch.Generator().manual_seed(0)
    batches = [
        (
            torch.randn(6, 3, generator=generator, dtype=F64),
            (torch.randint(3, (6,), generator=generator), torch.randint(2, (6, 1), generator=generator).double()),
        )
        for _ in range(4)
    ]
    laws = derive(arch, losses)
    run = train(arch.to_torch(F64), laws, batches, 0.1, losses)
    assert max(t.step_deviation for t in run.traces) < 1e-12
    with pytest.raises(ValueError, match="1 targets for 2 outputs"):
        train(arch.to_torch(F64), laws, [(x, y[:1]) for x, y in batches], 0.1, losses)


# Modules


class TwoHeads(torch.nn.Module):
    """Blocks with the names of an architecture; outputs as a tuple or by name."""

    def __init__(self, named: bool = False) -> None:
        super().__init__()
        self.trunk = torch.nn.Linear(3, 2)
        self.digit, self.angle = torch.nn.Linear(2, 3), torch.nn.Linear(2, 1)
        self.named = named

    def forward(self, x: torch.Tensor) -> Mapping[str, torch.Tensor] | Sequence[torch.Tensor]:
        h = torch.relu(self.trunk(x))
        return {"digit": self.digit(h), "angle": self.angle(h)} if self.named else (self.digit(h), self.angle(h))


@pytest.mark.parametrize("named", [False, True])
def test_modules_with_several_outputs(named: bool) -> None:
    nodes = {"trunk": b.Linear(3, 2), "act": b.ReLU(), "digit": b.Linear(2, 3), "angle": b.Linear(2, 1)}
    reads = {"trunk": ("input",), "act": ("trunk",), "digit": ("act",), "angle": ("act",)}
    arch = Architecture(b.Wiring(nodes, reads, ("digit", "angle")))
    torch.manual_seed(0)
    module, args = TwoHeads(named), (torch.randn(6, 3),)
    losses = {"digit": "cross_entropy", "angle": "mse"} if named else ("cross_entropy", "mse")
    laws = derive(arch, losses)
    assert laws.independent == 5
    assert verify(module, laws, args=args).verdict is Verdict.HOLDS
    assert_lawful(module, args, losses, architecture=arch)
    assert_conserved(laws[0], module, args, losses)
    assert count(module, losses, args=(torch.randn(1, 3),)).laws >= 5  # more where a unit is dead on this side
    assert verify(module, tuple(laws), ("mse", "mse"), args=args).violated
    with pytest.raises(ValueError, match=r"3 losses .* for 2 outputs"):
        verify(module, tuple(laws), ["mse"] * 3, args=args)
    with pytest.raises(b.ShapeError, match=r"3 losses .* for 2 outputs"):
        count(module, ["mse"] * 3, args=args)


def test_the_classes_of_a_module_may_be_on_any_axis() -> None:
    """Segmentation: cross-entropy over channels, with a shift of the last bias that only the right axis shows."""
    arch = Architecture(b.Conv2d(2, 3, 1), b.Signal(2, (3, 3), channels_first=True))
    laws = derive(arch, "cross_entropy")
    assert laws.independent == count(arch, "cross_entropy").laws == 3

    class Segmenter(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv2d = torch.nn.Conv2d(2, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv2d(x)

    module, args = Segmenter(), (torch.randn(2, 2, 3, 3),)
    assert verify(module, laws, args=args, axis=1).verdict is Verdict.HOLDS
    assert verify(module, laws, args=args).verdict is Verdict.VIOLATED
    assert count(module, "cross_entropy", args=args, axis=1).laws == 3
    assert verify(arch.to_torch(), laws).verdict is Verdict.HOLDS
    assert laws.verify(arch.to_torch(), args=args).verdict is Verdict.HOLDS
    assert count(arch.to_torch(), "cross_entropy", args=args).laws == 3
    assert_lawful(module, args, architecture=arch, loss="cross_entropy")
    assert_lawful(module, args, laws=laws, axis=1)
    with pytest.raises(ValueError, match="has no axis 7"):
        verify(module, laws, args=args, axis=7)
    with pytest.raises(ValueError, match="2 axes are given for 1 outputs"):
        verify(module, laws, args=args, axis=(1, 1))


# Random trunks and heads


@st.composite
def trunks_with_heads(draw: st.DrawFn) -> tuple[Architecture, tuple[str, ...]]:
    """A short trunk, heads that read its wires (some wires are outputs themselves), and a loss for every output."""
    features = draw(st.integers(2, 3))
    nodes: dict[str, b.Net] = {}
    reads: dict[str, tuple[str, ...]] = {}
    wires = [("input", features)]

    def grow(name: str, net: b.Net, source: str) -> None:
        nodes[name], reads[name] = net, (source,)

    for i in range(draw(st.integers(1, 3))):
        source, width = wires[-1]
        n = draw(st.integers(3, 4))
        first = linear(width, n, draw(st.booleans()))
        options = [first, first, first >> b.ReLU(), first >> b.LeakyReLU(0.3), first >> b.GELU(), first >> b.Power(2)]
        options += [first >> rms(n, 0.0), first >> core(n, 0.0)]
        if width >= 3:
            options += [relu_block(width, 2), b.residual(rms(width, 0.0) >> linear(width, width)), rms(width, 0.0)]
        net = draw(st.sampled_from(options))
        grow(f"t{i}", net, source)
        wires.append((f"t{i}", width if net in options[8:] else n))
    outputs = []
    for i in range(draw(st.integers(2, 3))):
        source, width = wires[-1] if not i else draw(st.sampled_from(wires[1:]))
        kind = draw(st.sampled_from(["linear", "linear", "relu", "norm", "wire", "one", "hidden"]))
        if kind == "wire":
            outputs.append((source, width))
            continue
        n = 1 if kind == "one" else 3
        head: b.Net = linear(width, n, draw(st.booleans()))
        if kind == "relu":
            head = b.ReLU() >> head
        elif kind == "norm":
            head = draw(st.sampled_from([rms, core]))(width, 0.0) >> head
        elif kind == "hidden":
            head = linear(width, 2, draw(st.booleans())) >> linear(2, n, draw(st.booleans()))
        grow(f"h{i}", head, source)
        outputs.append((f"h{i}", n))
    wide = st.sampled_from(["mse", "bce", "cross_entropy", "hinge", "cosine", "cosine"])
    losses = tuple(draw(wide) if n > 1 else "bce" for _, n in outputs)
    net = b.Wiring(nodes, reads, tuple(name for name, _ in outputs))
    return Architecture(net, b.Signal(features)), losses


@given(trunks_with_heads())
@settings(max_examples=max(settings().max_examples // 10, 1))
def test_random_trunks_with_heads(case: tuple[Architecture, tuple[str, ...]]) -> None:
    arch, losses = case
    assume(sum(p.size for p in arch.parameters.values()) <= 90)
    note(f"{losses} {arch.to_json()}")
    laws = derive(arch, losses)
    oracle = count(arch, losses, known=None if laws.notes else laws.independent)
    assume(oracle.verdict is Verdict.HOLDS)
    assert oracle.laws == laws.independent or (laws.notes and oracle.laws > laws.independent)
    assert gradient_rank(arch, laws) == laws.independent
    # A norm of features that are all zero is no number, at the points where the laws are verified too.
    points = arch.points(losses, 4, 0, False)
    assume(all(bool(torch.isfinite(g).all()) for p in points for g in p.gradient.values()))
    assert verify(arch, laws).verdict is (Verdict.HOLDS if laws else Verdict.VACUOUS)
