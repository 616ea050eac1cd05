"""Permutations of experts, branches, channels and heads: outputs stay in float64, and a wrong element changes them."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.symmetry.symmetries import Symmetries
from lawful.symmetry.symmetry import Symmetry
from lawful.theory.verdict import Verdict


class Expert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 5), nn.Linear(5, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down(nn.functional.gelu(self.up(x)))
        return out


class Listed(nn.Module):
    """Experts in a list, one that is shared, and a router."""

    def __init__(self, experts: int = 3, other: bool = False) -> None:
        super().__init__()
        self.stem, self.router, self.head = nn.Linear(4, 6), nn.Linear(6, experts), nn.Linear(6, 2)
        self.experts, self.shared = nn.ModuleList(Expert() for _ in range(experts)), Expert()
        if other:
            self.experts[1].up = self.experts[0].up

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.stem(x)
        p = self.router(h).softmax(-1)
        y = self.shared(h)
        for i, expert in enumerate(self.experts):
            y = y + p[..., i : i + 1] * expert(h)
        out: torch.Tensor = self.head(y)
        return out


class Towers(nn.Module):
    """Heads in a list whose outputs are joined; the last one is wider inside."""

    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleList(nn.Sequential(nn.Linear(6, h), nn.Tanh(), nn.Linear(h, 3)) for h in (4, 4, 4, 5))
        self.head = nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.cat([t(x) for t in self.towers], -1))
        return out


def moved_as_wholes(found: Symmetries) -> list[Symmetry]:
    return [s for s in found.where(group="permutation") if s.stacks]


def all_exact(found: Symmetries) -> None:
    for s in found.where(group="permutation"):
        done = s.verify()
        assert done.error < 1e-9 and done.verdict is Verdict.HOLDS, (s.name, str(done))


def test_experts_in_a_list_change_places_with_the_rows_of_the_router() -> None:
    torch.manual_seed(0)
    model, x = Listed(), torch.randn(5, 4)
    found = lw.symmetries(model, args=(x,))
    all_exact(found)
    (experts,) = moved_as_wholes(found)
    assert experts.shape == (3,) and experts.proof.holds
    assert {"router.weight", "router.bias", "experts.2.up.bias"} <= set(experts.parameters)
    assert not any(n.startswith("shared") for n in experts.parameters)
    order = torch.tensor([2, 0, 1])
    moved = experts.apply(model, experts.element(order))
    assert torch.equal(moved.experts[0].up.weight, model.experts[2].up.weight)
    assert torch.equal(moved.router.weight, model.router.weight[order])
    back = experts.apply(moved, experts.element(order).inverse)
    assert all(torch.equal(p, q) for p, q in zip(back.parameters(), model.parameters(), strict=True))
    done = lw.align(model, moved, network=found)
    assert done.distance[0] > 1 and done.distance[1] < 1e-6


def test_experts_that_share_a_map_do_not_change_places() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(Listed(2, other=True), args=(torch.randn(5, 4),))
    (experts,) = moved_as_wholes(found)  # the map that both have is the same wherever they stand
    assert "experts.0.up.weight" not in experts.parameters
    all_exact(found)
    (two,) = moved_as_wholes(lw.symmetries(Listed(3, other=True), args=(torch.randn(5, 4),)))
    assert two.shape == (2,) and not any(n.startswith("experts.2") for n in two.parameters)


def test_alike_branches_of_a_join_change_places() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(Towers(), args=(torch.randn(5, 6),))
    (towers,) = moved_as_wholes(found)
    assert towers.shape == (3,) and "head.weight" in towers.parameters
    assert not any(n.startswith("towers.3") for n in towers.parameters)
    all_exact(found)


@pytest.mark.parametrize("name", ["mixtral", pytest.param("deepseek_moe", marks=pytest.mark.nightly)])
def test_experts_of_a_family(name: str) -> None:
    found = lw.symmetries(getattr(lw.families, name)().shrink())
    experts = moved_as_wholes(found)
    assert experts and all(s.verify().verdict is Verdict.HOLDS for s in experts)
    assert all("router" in s.moves[0].parameter for s in experts)
    assert not any(".shared." in n for s in experts for n in s.parameters)


def test_experts_in_one_tensor() -> None:
    """The hidden units of every expert by themselves, and the experts with the router's rows."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Qwen2MoeConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=11,
        moe_intermediate_size=3,
        shared_expert_intermediate_size=4,
        num_experts=3,
        num_experts_per_tok=2,
        pad_token_id=None,
        use_cache=False,
        experts_implementation="batched_mm",
    )
    model = transformers.Qwen2MoeForCausalLM(config).eval()
    found = lw.symmetries(model, kwargs={"input_ids": torch.randint(11, (3, 6))})
    stacked = [s for s in found.where(group="permutation") if any("experts.down_proj" in n for n in s.parameters)]
    assert sorted(s.shape for s in stacked) == [(3,)] * 4 + [(8,)]  # the last one is the residual stream
    (experts,) = [s for s in stacked if s.shape == (3,) and "model.layers.0.mlp.gate.weight" in s.parameters]
    assert not any("shared" in n for n in experts.parameters)
    for s, seed in itertools.product(stacked, range(3)):  # whatever is drawn, some expert that answers is seen
        done = s.verify(seed=seed)
        assert done.error < 1e-9 and done.verdict is Verdict.HOLDS, (s.name, str(done))
    shared = [s for s in found.where(group="permutation") if any("shared_expert." in n for n in s.parameters)]
    assert sorted(s.shape for s in shared) == [(4,), (8,)]


class Residual(nn.Module):
    """A small ResNet: two blocks on one stream, one that halves it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.a, self.na = nn.Conv2d(4, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.b, self.nb = nn.Conv2d(5, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.c, self.skip = nn.Conv2d(4, 6, 3, 2, 1), nn.Conv2d(4, 6, 1, 2)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x)).relu()
        x = (x + self.nb(self.b(self.na(self.a(x)).relu()))).relu()
        x = (self.c(x) + self.skip(x)).relu()
        out: torch.Tensor = self.head(x.mean((2, 3)))
        return out


def vgg() -> nn.Module:
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()]
    head = [nn.Flatten(), nn.Linear(20, 7), nn.ReLU(), nn.Dropout(), nn.Linear(7, 3)]
    return nn.Sequential(*layers, nn.MaxPool2d(2), *head).eval()


CHANNELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[tuple[int, ...]]]] = {
    "mlp": (lambda: lw.families.mlp([4, 5, 6, 3]).to_torch(), (), [(5,), (6,)]),
    "vgg": (vgg, (3, 3, 8, 8), [(4,), (5,), (7,)]),
    "resnet": (lambda: Residual().eval(), (3, 3, 4, 4), [(4,), (5,), (6,)]),
    "vit": (lambda: lw.families.deit().shrink().to_torch(), (), []),
    "gpt2": (
        lambda: lw.families.gpt2(layers=1, width=8, heads=4, vocabulary=11, context=5).to_torch(),
        (),
        [(4,), (32,)],
    ),
    "grouped": (
        lambda: lw.families.llama(
            layers=1, width=8, heads=4, kv_heads=2, hidden=6, vocabulary=11, context=5
        ).to_torch(),
        (),
        [(2,), (2,), (6,), (8,)],  # groups, heads of every group, hidden units, the stream
    ),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_and_heads(name: str) -> None:
    make, shape, sizes = CHANNELS[name]
    torch.manual_seed(0)
    model = make()
    found = lw.symmetries(model, args=(torch.randn(shape),) if shape else ())
    shapes = sorted(s.shape for s in found.where(group="permutation"))
    assert shapes and all(shapes.count(n) >= sizes.count(n) for n in sizes), shapes
    all_exact(found)
