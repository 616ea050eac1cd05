"""Symmetries: exact on every kind of network, with a wrong element as control; elements form groups; laws agree."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.verdict import Verdict

SMALL = dict(layers=1, width=8, heads=4, vocabulary=11, context=5)
FAMILIES: dict[str, Callable[[], Architecture]] = {
    "mlp": lambda: lw.families.mlp([4, 5, 3]),
    "deep linear": lambda: lw.families.deep_linear((4, 3, 4)),
    "tied autoencoder": lambda: lw.families.autoencoder((5, 4, 3), tied=True),
    "gpt2": lambda: lw.families.gpt2(**SMALL),
    "llama": lambda: lw.families.llama(**SMALL, kv_heads=2, hidden=6),
    "resnet": lambda: lw.families.resnet18().shrink(),
    "vit": lambda: lw.families.deit().shrink(),
    "relu squared": lambda: Architecture(b.Linear(3, 4, False) >> b.Power(2) >> b.Linear(4, 2)),
    "parallel linear": lambda: Architecture(
        b.Linear(3, 6, False)
        >> b.parallel(b.Linear(6, 2, False) >> b.Linear(2, 6, False), b.Linear(6, 3, False) >> b.Linear(3, 6, False))
    ),
}


def all_hold(found: Symmetries, seen: float = 0.8) -> None:
    """Exact, and seen by a wrong element wherever the network can see anything of it."""
    results = {s.name: s.verify() for s in found}
    assert all(v.error < 1e-9 for v in results.values()), results
    assert {v.verdict for v in results.values()} <= {Verdict.HOLDS, Verdict.VACUOUS}
    assert sum(v.verdict is Verdict.HOLDS for v in results.values()) >= seen * len(results)


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_every_symmetry_of_a_family_is_exact(make: Callable[[], Architecture]) -> None:
    found = lw.symmetries(make())
    assert len(found)
    all_hold(found)


DEEPER = {"densenet169", "densenet201"}  # more of the layers that densenet121 has, in 20 minutes


@pytest.mark.nightly
@pytest.mark.parametrize("name", [n for n in lw.families.__all__ if n not in DEEPER])
def test_every_family(name: str) -> None:
    needs = {"mlp": ((4, 5, 3),), "resnet": ((1, 1),), "vgg": ([[64], [128]],)}
    all_hold(
        lw.symmetries(getattr(lw.families, name)(*needs.get(name, ())).shrink()), seen=0.5
    )  # tiny copies hide much


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.b1 = nn.BatchNorm2d(6)
        self.c2 = nn.Conv2d(6, 8, 3, groups=2)
        self.b2 = nn.BatchNorm2d(8)
        self.f = nn.Linear(8 * 4 * 4, 5)
        for norm in (self.b1, self.b2):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.normal_(norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.b1(self.c1(x)))
        return self.f(torch.relu(self.b2(self.c2(x))).flatten(1))


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[torch.Tensor, ...]]] = {
    "packed heads": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        (torch.randn(2, 4, 8),),
    ),
    "norm in training": (lambda: Convolutional().train(), (torch.randn(3, 3, 6, 6),)),
    "norm in evaluation": (lambda: Convolutional().eval(), (torch.randn(3, 3, 6, 6),)),
    "odd and sloped": (
        lambda: nn.Sequential(
            nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5), nn.PReLU(), nn.Linear(5, 5), nn.PReLU(5), nn.Linear(5, 2)
        ),
        (torch.randn(2, 3),),
    ),
}


@pytest.mark.parametrize(("make", "args"), MODULES.values(), ids=MODULES)
def test_every_symmetry_of_a_module_is_exact(make: Callable[[], nn.Module], args: tuple[torch.Tensor, ...]) -> None:
    torch.manual_seed(0)
    model = make()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    all_hold(lw.symmetries(model, args=args))
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_running_statistics_move_with_their_channels() -> None:
    found = lw.symmetries(Convolutional().eval(), args=(torch.randn(3, 3, 6, 6),))
    groups = found.where(group="permutation")
    assert any({"b1.running_mean", "b1.running_var", "c2.weight"} <= set(s.parameters) for s in groups)


def test_a_row_of_a_padding_token_is_no_symmetry() -> None:
    """Its gradient is stopped, so that training conserves it; the function reads it."""
    model = nn.Sequential(nn.Embedding(7, 4, padding_idx=0), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    nn.init.normal_(model[0].weight)
    found = lw.symmetries(model, args=(torch.randint(7, (4, 6)),))
    all_hold(found)
    assert any(law.kind == "frozen" for law in found.laws) and not found.where(group="shift")
    assert any("a gradient may be stopped at" in n for n in found.notes)


def test_heads_with_slopes_of_their_own_are_not_permuted() -> None:
    def attention(alibi: bool) -> Architecture:
        heads = b.SelfAttention(4, heads=2, head_width=2, alibi=alibi)
        return Architecture(heads, input=b.Signal(4, (3,)))

    groups = [lw.symmetries(attention(alibi)).where(group="permutation") for alibi in (False, True)]
    assert [len(g) for g in groups] == [1, 0]


def test_groups_of_a_norm_move_as_wholes_and_inside() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), nn.SiLU(), nn.Conv2d(6, 2, 1))
    found = lw.symmetries(model, args=(torch.randn(2, 3, 5, 5),))
    all_hold(found)
    assert sorted(s.shape for s in found.where(group="permutation")) == [(2,), (3,)]


def test_signs_and_permutations_behind_tanh() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    found = lw.symmetries(model, args=(torch.randn(2, 3),))
    assert {s.group for s in found} == {"permutation", "signs"}
    assert all(s.law is None and s.why for s in found)


def test_dropout_in_training_hides_permutations() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 2))
    args = (torch.randn(2, 3),)
    found = lw.symmetries(model, args=args)
    assert not found.where(group="permutation") and any("dropout" in n for n in found.notes)
    assert lw.symmetries(model.eval(), args=args).where(group="permutation")


@pytest.fixture(scope="module")
def llama() -> Symmetries:
    return lw.symmetries(FAMILIES["llama"]())


def test_elements_form_a_group(llama: Symmetries) -> None:
    model = llama.arch.to_torch(torch.float64)
    for s in llama:
        g, h = s.random(torch.Generator().manual_seed(1)), s.random(torch.Generator().manual_seed(2))
        once = s.apply(s.apply(model, h), g)
        for other in (s.apply(model, g @ h), s.apply(s.apply(once, g.inverse), g)):
            for (n, p), q in zip(once.named_parameters(), other.parameters(), strict=True):
                torch.testing.assert_close(p, q, msg=f"{s.name}: {n}")


def test_a_small_element_is_the_gradient_of_its_law(llama: Symmetries) -> None:
    model = llama.arch.to_torch(torch.float64)
    for s in llama:
        if not s.lawful or s.kind == "shift":
            continue
        generator = torch.zeros(s.shape, dtype=torch.float64)
        index = (0,) * len(s.shape)
        generator[index] = 1e-6
        moved = dict(s.apply(model, s.exp(generator)).named_parameters())
        for name, gradient in s.law.gradient(model, index).items():
            step = (moved[name] - model.get_parameter(name)).detach() / 1e-6
            torch.testing.assert_close(step, gradient / 2, atol=1e-4, rtol=1e-4)


def test_the_number_of_generators_is_the_number_of_laws(llama: Symmetries) -> None:
    exact = llama.laws.where(exact=True)
    assert sum(s.count for s in llama) == exact.count
    assert all(s.proof.holds for s in llama)


def test_models_come_back_as_the_kind_that_they_were(llama: Symmetries) -> None:
    s = llama[0]
    model = llama.arch.to_torch(torch.bfloat16)
    copy, state = s.apply(model, s.random()), s.apply(dict(model.state_dict()), s.random())
    assert copy is not model and isinstance(state, dict)
    changed = s.parameters[0]
    assert torch.equal(copy.get_parameter(changed), state[changed])
    assert copy.get_parameter(changed).dtype == torch.bfloat16
    assert s.apply(model, s.random(), in_place=True) is model
    assert torch.equal(model.get_parameter(changed), state[changed])


def test_what_is_no_element_is_refused(llama: Symmetries) -> None:
    scale, permutation = llama.where(group="positive diagonal")[0], llama.where(group="permutation")[0]
    matrix = llama.where(group="general linear")[0]
    for s, value, says in (
        (scale, torch.zeros(scale.shape), "positive"),
        (scale, torch.ones(1), "shape"),
        (permutation, torch.zeros(permutation.shape), "no permutation"),
        (matrix, torch.zeros(matrix.shape), "singular"),
    ):
        with pytest.raises(ValueError, match=says):
            s.element(value)
    with pytest.raises(KeyError, match="pass the module"):
        scale.apply(nn.Linear(2, 2), scale.random())
    with pytest.raises(TypeError, match="two groups"):
        scale.random() @ permutation.random()


def test_a_wrong_symmetry_is_violated(llama: Symmetries) -> None:
    from dataclasses import replace

    s = llama[0]
    assert replace(s, moves=s.moves[:-1]).verify().verdict is Verdict.VIOLATED
