"""What users' test suites get: assertions that catch what breaks a law and leave a module alone.

This file is long because all assertions are tried on the same modules.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import nn

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.derive import derive
from lawful.testing import assert_complete, assert_conserved, assert_lawful, assert_same_laws, assert_step_lawful
from lawful.theory.oracle.verification import corruptions
from lawful.theory.verdict import Verdict

pytest_plugins = ["pytester"]

MLP = b.chain(up=b.Linear(3, 4), activation=b.ReLU(), down=b.Linear(4, 2))
X = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))


class Mlp(nn.Module):
    """The torch module that `MLP` describes."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor] = torch.relu) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down, self.activation = nn.Linear(3, 4), nn.Linear(4, 2), activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.activation(self.up(x)))


class WrongRelu(torch.autograd.Function):
    """ReLU with a straight-through gradient for small inputs, a mistake that training hides."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * (x > -0.1)


# Architectures


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize(
    "net",
    [
        MLP,
        b.MLP(3, 4, b.GELU()),
        b.Linear(3, 4) >> b.LayerNorm(4) >> b.Linear(4, 3),
        b.Linear(2, 3) >> b.BatchNorm(3, epsilon=0.0) >> b.ReLU() >> b.Linear(3, 3),
    ],
)
def test_architectures_pass(net: b.Net, loss: str) -> None:
    assert_lawful(net, loss=loss)


def test_a_large_architecture_is_verified_and_not_counted() -> None:
    assert_lawful(b.Linear(30, 40) >> b.ReLU() >> b.Linear(40, 20))
    with pytest.raises(AssertionError, match="no law that could be tested"):
        assert_lawful(b.Linear(30, 40) >> b.GELU() >> b.Linear(40, 20))


def test_a_missing_law_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    laws = derive(Architecture(MLP))
    less = laws.where(wire="nothing")
    monkeypatch.setattr("lawful.testing.assertions.derive", lambda arch, loss: less)
    with pytest.raises(AssertionError, match="0 independent laws were derived, the oracle counts 4 of 26 parameters"):
        assert_lawful(MLP)


def test_an_architecture_comes_alone() -> None:
    with pytest.raises(ValueError, match="pass it alone"):
        assert_lawful(MLP, (X,))
    with pytest.raises(ValueError, match="network is 3; it must be an Architecture or a block"):
        assert_lawful(3)  # type: ignore[arg-type]


# Modules


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_modules_pass(loss: str) -> None:
    arch = Architecture(MLP)
    for report in (
        assert_lawful(arch.to_torch(), loss=loss),
        assert_lawful(Mlp(), (X,), loss, architecture=arch),
        assert_lawful(Mlp(), (X,), laws=derive(arch, loss)),
    ):
        assert report.verdict is Verdict.HOLDS
        assert report.residual < 1e-12


def test_a_wrong_backward_fails_with_a_table() -> None:
    model = Mlp(WrongRelu.apply)
    with pytest.raises(AssertionError) as error:
        assert_lawful(model, (X,), architecture=Architecture(MLP))
    text = str(error.value)
    assert "Mlp: wrong gradients (2 of 4 parameters)" in text
    assert "the backward of WrongRelu" in text and "up.weight" in text
    assert "law broken: balance of up" in text


def test_corrupted_laws_fail() -> None:
    arch = Architecture(b.Linear(3, 4) >> b.LayerNorm(4, epsilon=0.0) >> b.Linear(4, 3))
    module = arch.to_torch()
    for law in derive(arch):
        for false in corruptions(law):
            with pytest.raises(AssertionError, match="law broken"):
                assert_lawful(module, laws=[false])


def test_not_a_number_fails() -> None:
    model = Mlp()
    with torch.no_grad():
        model.down.bias[0] = torch.nan
    with pytest.raises(AssertionError, match="undecided, the loss or its gradient is not a number"):
        assert_lawful(model, (X,), architecture=Architecture(MLP))


def test_a_frozen_parameter_fails() -> None:
    model = Mlp()
    model.down.weight.requires_grad_(False)
    with pytest.raises(
        AssertionError, match=r"down\.weight is frozen in Mlp and trainable in the architecture; derive with"
    ):
        assert_lawful(model, (X,), architecture=Architecture(MLP))
    with pytest.raises(AssertionError, match=r"law broken[\s\S]*frozen in the module: down\.weight"):
        assert_lawful(model, (X,), laws=derive(Architecture(MLP)))
    with pytest.raises(AssertionError, match="no law that could be tested"):
        assert_lawful(model, (X,), architecture=Architecture(MLP).freeze("down.weight"))


@pytest.mark.parametrize("net", [b.Linear(3, 2), b.Linear(3, 4) >> b.GELU() >> b.Linear(4, 2)], ids=["one map", "GELU"])
def test_a_module_made_of_blocks_without_laws(net: b.Net) -> None:
    found = assert_lawful(Architecture(net).to_torch(), torch.randn(5, 3))
    assert found.verdict.passed and len(found.vouched("reference")) == len(found.parameters)


@pytest.mark.parametrize("dead", [lambda x: x.detach() * 0, lambda x: x * 0])
def test_zero_gradients_fail(dead: Callable[[torch.Tensor], torch.Tensor]) -> None:
    model = Mlp(dead)
    model.down.weight.requires_grad_(False)
    model.down.bias.requires_grad_(False)
    with pytest.raises(AssertionError, match=r"no witness: up[ .]"):
        assert_lawful(model, (X,), laws=derive(Architecture(MLP)))


def test_all_frozen_fails() -> None:
    model = Mlp().requires_grad_(False)
    with pytest.raises(AssertionError, match="no trainable parameter: all are frozen"):
        assert_lawful(model, (X,), laws=derive(Architecture(MLP)))


def test_a_network_of_zeros_is_tested_near_zero() -> None:
    model = Mlp()
    for p in model.parameters():
        nn.init.zeros_(p)
    assert assert_lawful(model, (X,), architecture=Architecture(MLP)).verdict is Verdict.HOLDS


def test_the_epsilon_of_a_law_is_subtracted() -> None:
    module = Architecture(b.Linear(3, 4) >> b.LayerNorm(4, epsilon=1e-5) >> b.Linear(4, 3)).to_torch()
    found = assert_lawful(module)
    assert found.verdict is Verdict.HOLDS and found.residual < 1e-12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": Architecture(b.Linear(3, 2))}, r"the parameter bias is missing in Mlp|is .* in Mlp and"),
        ({"architecture": Architecture(MLP), "laws": []}, "pass one of them"),
        ({"laws": derive(Architecture(MLP), "cross_entropy"), "loss": "mse"}, "for cross_entropy, the loss is mse"),
        ({"laws": derive(Architecture(b.Linear(3, 2) >> b.Linear(2, 3)))}, "reads '0.weight', which is no parameter"),
        ({"architecture": Architecture(MLP), "args": ()}, r"needs example inputs; pass args=\(x,\)"),
    ],
)
def test_unclear_calls_say_what_to_pass(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        assert_lawful(Mlp(), **{"args": (X,), **options})


def test_a_module_gives_one_tensor_for_every_loss() -> None:
    class Pair(Mlp):
        def __init__(self, second: object) -> None:
            super().__init__()
            self.second = second

        def forward(self, x: torch.Tensor) -> tuple:  # type: ignore[override]
            return super().forward(x), self.second

    class Nothing(Mlp):
        def forward(self, x: torch.Tensor) -> dict:  # type: ignore[override]
            return {}

    with pytest.raises(TypeError, match="Nothing gives a dict, expected a tensor of real numbers"):
        assert_lawful(Nothing(), (X,))
    assert_lawful(Pair({}), (X,), architecture=Architecture(MLP))
    with pytest.raises(ValueError, match=r"1 loss \(mse\) for 2 outputs"):
        assert_lawful(Pair(X), (X,), architecture=Architecture(MLP))


class Stateful(nn.Module):
    """Everything that an inspection could disturb: modes, buffers, gradients, random state, attributes, hooks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.up, self.norm, self.drop, self.down = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(()))
        self.calls = 0
        self.cache: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.cache.append(len(x))
        self.seen += 1
        self.seen = self.seen * 1.0
        return self.down(self.drop(torch.relu(self.norm(self.up(x)))))


STATEFUL = Architecture(
    b.chain(
        up=b.Linear(3, 4),
        norm=b.BatchNormCore(4),
        gain=b.Affine(4),
        activation=b.ReLU(),
        drop=b.Dropout(0.5),
        down=b.Linear(4, 2),
    )
)


def snapshot(model: nn.Module) -> dict:
    return {
        "modes": [m.training for m in model.modules()],
        "buffers": {n: (id(v), v.clone()) for n, v in model.named_buffers()},
        "parameters": {n: (id(p), p.detach().clone(), p.requires_grad) for n, p in model.named_parameters()},
        "grads": {n: (id(p.grad), p.grad.clone()) for n, p in model.named_parameters() if p.grad is not None},
        "random": torch.get_rng_state(),
        "attributes": (model.calls, list(model.cache)),
    }


def same(a: object, c: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(c, torch.Tensor) and a.dtype == c.dtype and torch.equal(a, c)
    if isinstance(a, dict):
        return isinstance(c, dict) and a.keys() == c.keys() and all(same(a[k], c[k]) for k in a)
    if isinstance(a, (tuple, list)):
        return isinstance(c, (tuple, list)) and len(a) == len(c) and all(map(same, a, c))
    return a == c


def stateful_laws() -> list:
    """The laws of `STATEFUL` under the names of a `BatchNorm1d`."""
    names = {"gain.weight": "norm.weight", "gain.bias": "norm.bias"}
    laws = []
    for law in derive(STATEFUL):
        terms = [
            replace(t, part=replace(t.part, parameter=names.get(t.part.parameter, t.part.parameter))) for t in law.terms
        ]
        laws.append(replace(law, terms=tuple(terms)))
    return laws


@pytest.mark.parametrize("gradients", [True, False])
def test_the_module_is_left_as_it_was(gradients: bool) -> None:
    model = Stateful()
    model.norm.eval()  # mixed modes: saving one flag for all of them would lose this
    model.drop.eval()
    if gradients:
        model(X).sum().backward()
    before = snapshot(model)
    report = assert_lawful(model, (X,), laws=stateful_laws())
    assert report["balance of gain"].verdict is Verdict.HOLDS
    assert_conserved(
        lambda p: p["norm.weight"] ** 2 + p["norm.bias"] ** 2 - p["down.weight"].square().sum(0), model, (X,)
    )
    assert same(before, snapshot(model))
    with torch.no_grad():
        assert_lawful(model, (X,), laws=stateful_laws())
    with pytest.raises(AssertionError):
        assert_lawful(model, (X,), laws=[corruptions(law)[0] for law in stateful_laws() if law.kind == "balance"])
    assert same(before, snapshot(model))


def test_modes_can_be_kept() -> None:
    """With fixed statistics a BatchNorm has no law of its own."""
    model = Stateful().eval()
    with pytest.raises(AssertionError, match="law broken"):
        assert_lawful(model, (X,), laws=stateful_laws(), training=False)


def test_a_module_that_holds_a_result_and_a_lock_need_not_be_copied() -> None:
    model = Mlp()
    model.last, model.lock = model(X), threading.Lock()  # type: ignore[assignment]
    last = model.last
    assert_lawful(model, (X,), architecture=Architecture(MLP))
    assert model.last is last
    last.sum().backward()  # the graph from before still stands
    assert model.up.weight.grad is not None and model.up.weight.grad.dtype == torch.float32


# A user's own invariant


def balance(p: dict[str, torch.Tensor]) -> torch.Tensor:
    return p["up.weight"].square().sum(1) + p["up.bias"] ** 2 - p["down.weight"].square().sum(0)


def test_an_invariant_is_conserved() -> None:
    arch = Architecture(MLP)
    for report in (
        assert_conserved(balance, MLP),
        assert_conserved(balance, arch),
        assert_conserved(balance, arch.to_torch()),
        assert_conserved(balance, Mlp(), (X,)),
        assert_conserved(balance, Mlp(), (X,), "cross_entropy"),
        assert_conserved(derive(arch)[0], Mlp(), (X,)),
        assert_conserved(derive(arch)[0], arch),
    ):
        assert report.verdict is Verdict.HOLDS
        assert report.residual < 1e-12 < report.control


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda p: p["up.weight"].square().sum(1) - p["down.weight"].square().sum(0), "violated"),  # no bias
        (lambda p: balance(p) * torch.nan, "violated"),
        (lambda p: balance(p) / 0, "violated"),
        (lambda p: p["up.weight"].sum() * 0, "vacuous"),
        (lambda p: torch.ones(3, dtype=torch.float64), "vacuous"),
        (lambda p: torch.cat([balance(p), balance(p) * 0]), "vacuous"),  # one scalar of many
    ],
)
def test_what_is_not_conserved_fails(wrong: Callable, message: str) -> None:
    for network, args in ((MLP, ()), (Mlp(), (X,))):
        with pytest.raises(AssertionError, match=message):
            assert_conserved(wrong, network, args)


def test_a_parameter_that_never_moves_proves_nothing() -> None:
    model = Mlp()
    model.up.requires_grad_(False)
    with pytest.raises(AssertionError, match="vacuous"):
        assert_conserved(lambda p: p["up.weight"], model, (X,))
    with pytest.raises(AssertionError, match="violated"):
        assert_conserved(balance, model, (X,))


def test_a_wrong_backward_breaks_an_invariant() -> None:
    with pytest.raises(AssertionError, match="balance is not shown to be conserved under mse"):
        assert_conserved(balance, Mlp(WrongRelu.apply), (X,))


def test_an_invariant_is_a_tensor() -> None:
    with pytest.raises(TypeError, match="gives a float, expected a tensor"):
        assert_conserved(lambda p: p["up.weight"].sum().item(), MLP)  # type: ignore[arg-type, return-value]


# The plugin

SUITE = """
import pytest
from lawful import blocks as b

NET = b.chain(up=b.Linear(2, 3), activation=b.ReLU(), down=b.Linear(3, 2))

def test_lawful(assert_lawful):
    assert_lawful(NET)

def test_conserved(assert_conserved):
    hidden = lambda p: p["up.weight"].square().sum(1) + p["up.bias"] ** 2 - p["down.weight"].square().sum(0)
    assert_conserved(hidden, NET)

def test_wrong(assert_conserved):
    assert_conserved(lambda p: p["up.weight"].square().sum(1) - p["down.weight"].square().sum(0), NET)

@pytest.mark.lawful
def test_marked():
    pass

def test_other():
    pass

def test_seed(assert_lawful, assert_conserved, request):
    assert assert_lawful.keywords == assert_conserved.keywords == {"seed": request.config.getoption("--lawful-seed")}
"""


def test_the_plugin_works_in_another_suite(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    loaded = any(d.name == "lawful" for d in entry_points())
    options = () if loaded else ("-p", "lawful.testing.plugin")
    result = pytester.runpytest_inprocess(
        *options,
        "--strict-markers",
        "-W",
        "error",
        "-m",
        "lawful",
        "--lawful-summary",
        "--lawful-seed",
        "3",
        "-p",
        "no:cacheprovider",
    )
    result.assert_outcomes(passed=4, failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*is not shown to be conserved under mse*", "*0 models tested*"])


PARTIAL = """
import torch
import lawful as lw

def test_step(assert_step_lawful):
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).double()
    x = torch.randn(5, 4)
    laws = [law for law in lw.derive(model, args=x.double())][:1]
    model(x.double()).square().mean().backward()
    assert str(assert_step_lawful(model, laws).verdict) == "holds"
"""


def test_a_step_that_is_judged_in_part_is_named_in_the_summary(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PARTIAL)
    loaded = any(d.name == "lawful" for d in entry_points())
    options = () if loaded else ("-p", "lawful.testing.plugin")
    result = pytester.runpytest_inprocess(*options, "-W", "error", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*3 of 4 parameters are right*decides on 2.bias; assert_lawful judges these"])


def entry_points() -> list:
    from importlib.metadata import entry_points as found

    return [e for e in found(group="pytest11")]


@pytest.mark.parametrize("module", ["lawful.testing.plugin", "lawful.testing"])
def test_loading_the_plugin_is_light(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'sympy', 'hypothesis', 'networkx') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_package_names_what_it_has() -> None:
    import lawful.testing

    assert {"assert_conserved", "assert_lawful", "assert_step_lawful", "strategies"} <= set(dir(lawful.testing))
    assert callable(lawful.testing.strategies.architectures)
    with pytest.raises(AttributeError, match="no attribute 'nothing'; it has assert_complete"):
        lawful.testing.nothing  # noqa: B018


def test_inputs_and_networks_have_the_forms_that_every_question_takes() -> None:
    torch.manual_seed(0)
    model, x = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)), torch.randn(5, 3)
    assert_lawful(model, x, "cross_entropy")
    assert_lawful("family:mlp:widths=3,4,2")
    assert_same_laws(model, model, args=x)
    assert_complete(model, args=x)
    torch.nn.functional.mse_loss(model(x), torch.randn(5, 2)).backward()
    assert_step_lawful(model, args=x)
    with pytest.raises(ValueError, match="assert_lawful: args is 3; it must be a tensor"):
        assert_lawful(model, 3)


def test_a_unit_that_is_dead_at_few_points_is_looked_at_again() -> None:
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(6, 4)

    def units(p: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return p["0.weight"].square().sum(1) + p["0.bias"].square() - p["2.weight"].square().sum(0)

    for seed in range(3):
        assert assert_conserved(units, module, (x,), samples=2, seed=seed).verdict is Verdict.HOLDS
    with torch.no_grad():
        module[0].weight[3], module[0].bias[3] = 0, -1e3
    with pytest.raises(AssertionError, match="vacuous: 1 of its 8 numbers did not move with the loss gradient"):
        assert_conserved(units, module, (x,))
