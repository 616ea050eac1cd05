"""Every kind of bad input gives one clear error: one sentence, the place, both sides, the way out."""

import re
from collections.abc import Callable

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.extras import MissingPackageError, needed
from lawful.theory.oracle.verification import verify
from lawful.theory.verdict import Verdict


def message(error: BaseException) -> str:
    """The text of an error, after the checks that hold for every one of them."""
    text = str(error.args[0])
    assert "\n" not in text and ". " not in text and not text.endswith("."), f"not one sentence: {text}"
    assert 10 < len(text) < 450, text
    return text


def refused(make: Callable[[], object], *parts: str, kind: type[Exception] = b.ShapeError) -> str:
    with pytest.raises(kind) as caught:
        make()
    text = message(caught.value)
    for part in parts:
        assert part in text, f"{part!r} is not in: {text}"
    return text


def wired(nodes: dict[str, b.Net], reads: dict[str, tuple[str, ...]], *output: str) -> Callable[[], Architecture]:
    return lambda: Architecture(b.Wiring(nodes, reads, output), b.Signal(3))


MISMATCHED = {
    "linear": (
        lambda: b.Linear(3, 4) >> b.Linear(5, 2),
        ["1 (after 0)", "reads 5 features", "gets 4 features", "change"],
    ),
    "named": (
        lambda: b.chain(stem=b.Linear(3, 4), head=b.Linear(5, 2)),
        ["head (after stem)", "5 features", "4 features"],
    ),
    "convolution": (
        lambda: b.Conv2d(3, 4, 3) >> b.Conv2d(5, 2, 3),
        ["reads 5 features", "gets 4 features;"],
    ),
    "norm": (lambda: b.Linear(3, 4) >> b.LayerNorm(6), ["1.core (after 0)", "reads 6 features", "gets 4 features"]),
    "gain": (lambda: b.Linear(3, 4) >> b.Affine(2), ["reads 2 features", "gets 4 features"]),
    "residual": (
        lambda: b.Linear(3, 4) >> b.residual(b.Linear(4, 5)),
        ["add (after skip, branch)", "4 features and 5 features", "equally wide"],
    ),
    "branches": (lambda: b.parallel(b.Linear(3, 4), b.Linear(3, 2)), ["add (after 0, 1)", "4 features and 2 features"]),
    "image to linear": (
        lambda: b.Conv2d(3, 4, 3) >> b.Linear(4, 2),
        ["features last", "channels first", "flatten or pool"],
    ),
    "linear to image": (lambda: b.Linear(3, 4) >> b.Conv2d(4, 2, 3), ["channels first", "gets 4 features"]),
    "embedding later": (
        lambda: b.Linear(3, 4) >> b.Embedding(4, 2),
        ["reads integer tokens", "gets 4 features", "first"],
    ),
    "small image": (
        lambda: b.Conv2d(3, 4, 9) >> b.Conv2d(4, 4, 9),
        ["kernel that spans 9", "at (8, 8)", "input or padding"],
    ),
    "split": (lambda: b.Linear(3, 4) >> b.Split((2, 3)) >> b.Concat(), ["reads 5 features", "gets 4 features"]),
    "experts": (
        lambda: b.MixtureOfExperts(3, [b.Linear(3, 2), b.Linear(3, 4)]),
        ["2 features and 4 features", "equally wide"],
    ),
}


@pytest.mark.parametrize("name", MISMATCHED)
def test_mismatched_shapes_name_the_node_and_both_sides(name: str) -> None:
    net, parts = MISMATCHED[name]
    refused(lambda: Architecture(net()), *parts)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (wired({"a": b.Linear(3, 2), "c": b.Linear(3, 2)}, {"a": ("input",), "c": ("input",)}, "a"), ["port 0 of c"]),
        (
            wired({"a": b.Linear(3, 2), "c": b.Linear(2, 2)}, {"a": ("input",)}, "c"),
            ["c: Linear", "1 input port ", "0"],
        ),
        (wired({"a": b.Split((1, 2))}, {"a": ("input",)}, "a:0"), ["output port 1 of a is open", "wire it"]),
        (wired({"a": b.Linear(3, 3)}, {"a": ("input",)}), ["ends in 0 wires", "expected one"]),
        (wired({"a": b.Linear(3, 3)}, {"a": ("input", "input")}, "a"), ["a: Linear", "1 input port ", "2 wires"]),
        (wired({"a": b.Add()}, {"a": ("input",)}, "a"), ["a: Add()", "two or more", "1"]),
        (wired({"a": b.Linear(3, 3)}, {"a": ("z",)}, "a"), ["a reads 'z'", "no such node", "there are input"]),
        (
            wired({"a": b.Linear(3, 3)}, {"a": ("input:3",)}, "a"),
            ["'input:3'", "the network has 1 input", "name all of them"],
        ),
        (wired({"a": b.Linear(3, 3)}, {"a": ("input",), "z": ("a",)}, "a"), ["'z'", "no node", "there are a"]),
        (wired({"output": b.Linear(3, 3)}, {"output": ("input",)}, "output"), ["'output'", "another name"]),
        (
            wired({"a": b.Identity(), "c": b.Linear(3, 3)}, {"a": ("c",), "c": ("a",)}, "a"),
            ["a and c", "cycle", "unroll"],
        ),
    ],
)
def test_open_ports_and_bad_wiring(make: Callable[[], Architecture], parts: list[str]) -> None:
    refused(make, *parts)


def test_edges_by_hand_are_checked_as_well() -> None:
    square, add, three = b.Linear(3, 3), b.Add(), [b.Signal(3)]
    cases = {
        "form a cycle": ({"a": square, "c": b.Linear(3, 3)}, [("c", 0, "a", 0), ("a", 0, "c", 0)]),
        "input port 0 of a is open": ({"a": add}, [("input", 0, "a", 1)]),
        "input port 0 of a has two wires": ({"a": square}, [("input", 0, "a", 0)] * 2),
        "which does not exist": ({"a": square}, [("z", 0, "a", 0)]),
        "no such port": ({"a": square}, [("input", 1, "a", 0)]),
    }
    for part, (nodes, edges) in cases.items():
        refused(lambda nodes=nodes, edges=edges: Architecture.from_parts(nodes, edges, [("a", 0)], three), part)


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: b.Linear(0, 3), ["Linear(0, width=3)", "features 0", "at least 1"]),
        (lambda: b.Conv2d(3, 4, 0), ["kernel 0", "at least 1"]),
        (lambda: b.Conv2d(3, 4, 3, stride=0), ["stride 0", "at least 1"]),
        (lambda: b.Conv2d(3, 4, 3, padding=-1), ["padding -1", "at least 0"]),
        (lambda: b.Conv2d(3, 4, 3, groups=2), ["2 groups", "divide 3 and 4"]),
        (lambda: b.Linear("3", 2), ["features '3'", "integer"]),  # type: ignore[arg-type]
        (lambda: b.Linear(3.0, 2), ["features 3.0", "integer"]),  # type: ignore[arg-type]
        (lambda: b.Linear(True, 2), ["features True", "integer"]),
        (lambda: b.SelfAttention(5, 2), ["2 heads", "5 features", "head_width"]),
        (lambda: b.SelfAttention(4, 0), ["heads is 0"]),
        (lambda: b.SelfAttention(4, 4, 3), ["3 key heads", "divide 4 query heads"]),
        (lambda: b.GroupNorm(3, 4), ["3 groups", "divide 4 channels"]),
        (lambda: Architecture(b.Rotary(2), b.Signal(6, (3,))), ["2 heads of even width", "6 features"]),
        (lambda: b.LayerNormCore(3, -1.0), ["epsilon", "negative"]),
        (lambda: b.LayerNormCore(3, float("nan")), ["epsilon", "nan"]),
        (lambda: b.Dropout(1.5), ["probability", "[0, 1)"]),
        (lambda: b.Pointwise("geluu"), ["'geluu'", "gelu, "]),
        (lambda: b.build("Linaer", {}, "nodes[0]"), ["nodes[0].kind", "'Linaer'", "Linear", "register"]),
        (lambda: b.parallel(b.Linear(3, 3)), ["two or more branches", "got 1"]),
        (lambda: Architecture(b.parallel(b.Linear(3, 3), add=b.Linear(3, 3))), ["two nodes are named add"]),
        (lambda: Architecture(torch.nn.Linear(2, 2)), ["got the torch module Linear", "trace"]),  # type: ignore[arg-type]
        (lambda: Architecture(b.ReLU() >> b.Linear(3, 2)), ["cannot tell", "input=Signal"]),
        (lambda: Architecture(b.Conv2d(3, 4, 3), space=(8,)), ["2 position axes", "space has 1"]),
        (lambda: Architecture(b.Linear(3, 2), b.Signal(-1)), ["Signal", "features -1", "at least 0"]),
    ],
)
def test_blocks_refuse_fields_that_make_no_sense(make: Callable[[], object], parts: list[str]) -> None:
    refused(make, *parts)


def test_ties_have_to_fit() -> None:
    table = b.Embedding(5, 4)

    def tied(width: int, tie: b.Tie) -> Callable[[], Architecture]:
        return lambda: Architecture(table >> b.Linear(4, width, tie=tie))

    refused(tied(6, b.Tie(table)), "1 has a weight of shape (6, 4)", "(5, 4)", "make them fit")
    refused(tied(5, b.Tie(table, transposed=True)), "(5, 4)", "transposed")
    refused(lambda: b.Tie(table, "bias"), "no parameter 'bias' to tie to", "it has weight")
    refused(tied(5, b.Tie(b.Embedding(5, 4))), "not in the network", "add that block")


@pytest.mark.parametrize("check", [derive, count, lambda a, loss: verify(derive(a), a, loss)])
def test_an_unknown_loss_lists_those_there_are(check: Callable[[Architecture, str], object]) -> None:
    arch = Architecture(b.Linear(3, 4) >> b.Linear(4, 2))
    refused(lambda: check(arch, "nope"), "'nope'", "mse, cross_entropy", kind=ValueError)


def test_counting_a_module_checks_the_loss_and_the_inputs() -> None:
    module = torch.nn.Linear(2, 2)
    refused(lambda: count(module, "nope", args=(torch.zeros(1, 2),)), "'nope'", "mse, cross_entropy")
    refused(lambda: count(module), "example inputs", "args=(x,)")


@pytest.fixture
def relu() -> Architecture:
    return Architecture(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2))


X = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)


@pytest.mark.parametrize("inputs", [(), (X, X)])
def test_too_few_and_too_many_inputs(relu: Architecture, inputs: tuple[torch.Tensor, ...]) -> None:
    refused(lambda: relu.to_torch(torch.float64)(*inputs), "has 1 inputs", f"gets {len(inputs)} tensors")


def test_missing_and_misshapen_parameters(relu: Architecture) -> None:
    (law,) = derive(relu)
    weights = dict(relu.to_torch().named_parameters())
    del weights["0.bias"]
    refused(lambda: law.value(weights), "'0.bias'", "0.weight, 2.bias, 2.weight", "pass the module", kind=KeyError)
    weights["0.bias"] = torch.zeros(7)
    refused(lambda: law.value(weights), "0.bias", "(7,)", "4 numbers", kind=ValueError)
    refused(lambda: law.value([1.0]), "[1.0]", "module or a mapping", kind=TypeError)
    refused(lambda: derive(relu)["nothing"], "'nothing'", law.name, kind=KeyError)
    refused(lambda: law.gradient(relu.to_torch()), "4 scalars", "index=", kind=IndexError)
    stranger = torch.nn.Linear(3, 2).double()
    refused(lambda: derive(relu).verify(stranger, args=(X,)), "'0.weight'", "(weight, bias)", kind=ValueError)
    refused(lambda: derive(relu).verify(relu.to_torch()), "example inputs", "args=(x,)", kind=ValueError)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["0.weight", "0.bias", "2.weight", "2.bias"])
def test_weights_that_are_no_numbers_never_pass(relu: Architecture, name: str, value: float) -> None:
    module = relu.to_torch(torch.float64)
    with torch.no_grad():
        module.get_parameter(name).view(-1)[0] = value
    report = derive(relu).verify(module, args=(X,))
    assert report.verdict is Verdict.UNDECIDED and not report.verdict.passed  # nothing is known: no pass, no accusation
    assert all("number" in r.reason for r in report.laws)
    (law,) = derive(relu)
    assert bool(torch.isfinite(law.value(module)).all()) == (name not in law.parameters)


def test_a_module_that_gives_nan_never_passes(relu: Architecture) -> None:
    class Broken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = relu.to_torch(torch.float64)
            self.inner.requires_grad_(True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) * float("nan")

    laws = derive(Architecture(b.chain(inner=b.chain(**{"0": b.Linear(3, 4), "1": b.ReLU(), "2": b.Linear(4, 2)}))))
    verdict = laws.verify(Broken(), args=(X,)).verdict
    assert verdict is Verdict.UNDECIDED and not verdict.passed


def test_a_zero_network_shows_nothing(relu: Architecture) -> None:
    module = relu.to_torch(torch.float64)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    report = derive(relu).verify(module, args=(X,), samples=1)  # at these parameters alone, and not near them
    assert report.verdict is Verdict.VACUOUS and not report.verdict.passed


def test_frozen_networks_are_vacuous_everywhere(relu: Architecture) -> None:
    frozen = relu.freeze("")
    assert frozen.frozen == set(frozen.parameters)
    laws = derive(frozen)
    assert laws.count == 0 and laws.verify(frozen).verdict is Verdict.VACUOUS
    module = frozen.to_torch(torch.float64)
    assert derive(relu).verify(module, args=(X,)).verdict is Verdict.VACUOUS
    for found in (count(frozen), count(module, args=(X,))):
        assert found.laws == 0 and found.verdict is Verdict.VACUOUS
    assert re.search("no trainable", count(frozen).method)


def test_a_module_without_numbers_is_not_run() -> None:
    with torch.device("meta"):
        module = torch.nn.Sequential(torch.nn.Linear(3, 400), torch.nn.ReLU(), torch.nn.Linear(400, 2))
    x = torch.zeros(4, 3, device="meta")
    for ask in (lw.verify, lw.count):
        refused(
            lambda ask=ask: ask(module, args=x), "0.weight of Sequential is on the meta device", "lw.trace(module, x)"
        )
    momentum = lw.flows.Momentum(0.5)
    laws = lw.flows.laws(b.Linear(3, 4) >> b.Linear(4, 2), momentum)
    refused(lambda: lw.flows.verify(module, laws, args=x), "meta device")
    assert lw.count(lw.trace(module, x).shrink()).verdict is Verdict.HOLDS


def test_a_package_that_does_not_load_says_what_it_lacks() -> None:
    def load() -> None:
        with needed("this callback", "transformers", "loops"):
            try:
                raise RuntimeError("operator torchvision::nms does not exist")
            except RuntimeError as error:
                raise ModuleNotFoundError("Could not import module 'TrainerCallback'.") from error

    refused(
        load, "this callback needs transformers", "operator torchvision::nms", "pip install", kind=MissingPackageError
    )


def test_a_wiring_names_the_entry_that_is_wrong() -> None:
    linear = b.Linear(3, 4)
    refused(lambda: b.Wiring({"a": linear, "b": torch.nn.ReLU()}), "the node 'b' of a Wiring is the torch module ReLU")
    refused(lambda: b.Wiring({"a": linear, "b": b.ReLU}), "the node 'b' of a Wiring is the class ReLU")
    refused(lambda: b.Wiring({"a": linear}, {"a": ("input", 3)}), "what the node 'a' of a Wiring reads is ('input', 3)")
    refused(lambda: b.Wiring([linear]), "it must be a dict")


def test_an_expression_of_blocks_says_what_has_drawings() -> None:
    net = b.Linear(3, 4) >> b.ReLU()
    for ask in (lambda: net.draw(), lambda: b.ReLU().to_torch):
        refused(ask, "has no attribute", "lw.Architecture(...)", kind=AttributeError)
    assert not hasattr(net, "__torch_function__") and not hasattr(net, "draw")


def test_a_property_of_a_block_raises_its_own_error() -> None:
    class Mine(b.Net):
        @property
        def size(self) -> int:
            return len(self.feautres)

    refused(lambda: Mine().size, "has no attribute 'feautres'", kind=AttributeError)


def test_whole_numbers_are_no_parameters() -> None:
    refused(lambda: Architecture(b.Linear(3, 2)).to_torch(torch.int64), "dtype is torch.int64", "torch.float32")


def test_a_forward_that_does_not_run_is_refused() -> None:
    module = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 2))
    for ask in (lw.derive, lw.check, lw.summary):
        refused(
            lambda ask=ask: ask(module, args=torch.tensor([[7, 1]])),
            "its forward does not run on the example inputs (IndexError: index out of range in self)",
            kind=ValueError,
        )
