"""Parts of the kit: symmetries of a module, two ways to run one step, strategies that are documented."""

import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.testing import assert_same_step, assert_symmetric, strategies
from lawful.theory.verdict import Verdict

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
T = torch.randint(3, (16,), generator=torch.Generator().manual_seed(1))


def mlp(act: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), act or nn.ReLU(), nn.Linear(8, 3))


def scale(p: dict) -> dict:
    return {"0.weight": p["0.weight"], "0.bias": p["0.bias"], "2.weight": -p["2.weight"]}


def test_a_symmetry_of_a_module() -> None:
    model = mlp()
    assert assert_symmetric(model, scale, X) < 1e-9
    assert assert_symmetric(model, lw.symmetries(model, args=(X,))[0]) < 1e-9
    with pytest.raises(AssertionError, match=r"no symmetry of Sequential: along it the output .* changes by"):
        assert_symmetric(mlp(nn.GELU()), scale, X)
    with pytest.raises(AssertionError, match="no symmetry"):
        assert_symmetric(model, lambda p: {n: -2 * d if n == "2.weight" else d for n, d in scale(p).items()}, X)
    with pytest.raises(AssertionError, match="the generator moves nothing"):
        assert_symmetric(model, lambda p: {"0.weight": 0 * p["0.weight"]}, X)
    unread = mlp()
    unread.register_parameter("extra", nn.Parameter(torch.ones(2)))
    with pytest.raises(AssertionError, match="vacuous: no output"):
        assert_symmetric(unread, lambda p: {"extra": p["extra"]}, X)
    with pytest.raises(ValueError, match="moves 'up', which is no parameter"):
        assert_symmetric(model, lambda p: {"up": p["0.bias"]}, X)
    with pytest.raises(ValueError, match="has shape"):
        assert_symmetric(model, lambda p: {"0.weight": p["0.bias"]}, X)
    with pytest.raises(TypeError, match="expected a dict"):
        assert_symmetric(model, lambda p: p["0.bias"], X)


def loop(model: nn.Module, parts: int, factor: float = 1.0, drop: bool = False, reduction: str = "mean"):
    def run() -> None:
        pieces = list(zip(X.chunk(parts), T.chunk(parts), strict=True))
        for x, t in pieces[: -1 if drop else None]:
            (factor * F.cross_entropy(model(x), t, reduction=reduction)).backward()

    return run


def test_two_splits_of_the_same_data() -> None:
    model = mlp()
    model(X).sum().backward()
    before = model[0].weight.grad.clone()
    found = assert_same_step(model, loop(model, 1), loop(model, 4, 0.25))
    assert found.verdict is Verdict.HOLDS and "what both do wrong is not seen" in found.notes[0]
    assert torch.equal(before, model[0].weight.grad)
    with pytest.raises(AssertionError, match="4 times too large"):
        assert_same_step(model, loop(model, 1), loop(model, 4))
    with pytest.raises(AssertionError, match="wrong gradients"):
        assert_same_step(model, loop(model, 1), loop(model, 4, 0.25, drop=True))
    with pytest.raises(AssertionError, match="16 times too large"):
        assert_same_step(model, loop(model, 1), loop(model, 1, reduction="sum"))
    with pytest.raises(AssertionError, match=r"neither way|nothing was compared"):
        assert_same_step(model, lambda: None, lambda: None)
    with pytest.raises(AssertionError, match="missing"):
        assert_same_step(model, loop(model, 1), lambda: None)
    with pytest.raises(AssertionError, match="no trainable parameter"):
        assert_same_step(nn.ReLU(), lambda: None, lambda: None)


@given(st.data())
@settings(max_examples=10)
def test_batches_and_parameters_fit(data: st.DataObject) -> None:
    arch = data.draw(strategies.architectures())
    batch, values = data.draw(strategies.batches(arch)), data.draw(strategies.parameters(arch))
    loss = data.draw(strategies.losses(arch))
    assert len({len(x) for x in batch}) == 1
    assert {n: tuple(v.shape) for n, v in values.items()} == {n: p.shape for n, p in arch.parameters.items()}
    assert len(arch.outputs) == 1 or len(loss) == len(arch.outputs)
    assert arch.to_torch()(*(x if x.dtype == torch.long else x.float() for x in batch)) is not None


@pytest.mark.nightly
def test_a_counterexample_is_small_and_is_python() -> None:
    def has_norm_before_relu(arch: Architecture) -> bool:
        kinds = [type(arch.block(n)).__name__ for n in arch.nodes]
        return "LayerNormCore" in kinds and "ReLU" in kinds

    found = find(strategies.architectures(), has_norm_before_relu, settings=settings(max_examples=3000, database=None))
    assert len(found.nodes) <= 6
    assert eval(repr(found), {"lw": lw, "b": b, "lawful": lw, **vars(b), "Architecture": Architecture}) == found
    block = find(strategies.blocks(b.Signal(4)), lambda n: True)
    assert Architecture(block, input=b.Signal(4)).parameters is not None
    with pytest.raises(ValueError, match="most is 1; it must be an integer of at least 2"):
        strategies.batches(found, 1)
