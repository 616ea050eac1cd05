"""Vision models of timm and torchvision, and the blocks that tracing them needed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from nights import at_night
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.theory.gauge.rules import WholeRule

SMALL = (
    "test_byobnet",
    "test_coatnet",
    "test_convnext",
    "test_efficientnet",
    "test_nfnet",
    "test_resnet",
    "test_vit",
    "test_vit_relpos",
)
GOOD = {"holds", "approximate", "vacuous"}


def small(name: str, side: int = 64, **options: object) -> tuple[nn.Module, torch.Tensor]:
    """A small model of timm with an image."""
    from lawful.atlas.stubs import declare_torchvision

    declare_torchvision()
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    try:
        module = timm.create_model(name, img_size=side, **options)
    except TypeError:
        module = timm.create_model(name, **options)
    with torch.no_grad():  # branches that start at zero have gradients that are too small to decide anything
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return module.eval(), torch.randn(2, 3, side, side)


def holds(module: nn.Module, x: torch.Tensor) -> tuple[lw.Architecture, lw.LawSet]:
    """Traces a module, which compares outputs and gradients, and verifies every law on it."""
    arch = lw.trace(module, x)
    assert arch.trace is not None and arch.trace.comparison is not None and arch.trace.comparison.agrees
    laws = lw.derive(arch)
    assert {r.verdict.value for r in lw.verify(module, laws, args=(x,)).laws} <= GOOD
    return arch, laws


@pytest.mark.parametrize("name", at_night(SMALL, "test_vit_relpos", "test_nfnet", "test_coatnet"))
def test_small_models_have_no_opaque_operation_and_true_laws(name: str) -> None:
    module, x = small(name)
    arch, laws = holds(module, x)
    assert not arch.trace.opaque
    assert laws.count


@pytest.mark.parametrize(
    ("name", "side", "options"),
    [
        # attention biases by fixed pairs, q, k and v apart behind batch normalisation
        pytest.param("levit_128s", 224, {}, marks=pytest.mark.nightly),
        ("eva02_tiny_patch14_224", 56, {"depth": 1}),  # a bias of three parts, rotation of all tokens but the first
        # standardised kernels, padding that looks like a batch size
        pytest.param("vit_tiny_r_s16_p8_224", 64, {"depth": 1}, marks=pytest.mark.nightly),
        ("naflexvit_base_patch16_siglip", 64, {"depth": 1, "embed_dim": 48, "num_heads": 3}),  # learned queries
    ],
)
def test_families_without_narrow_rules(name: str, side: int, options: dict[str, int]) -> None:
    module, x = small(name, side, **options)
    arch, _ = holds(module, x)
    assert not arch.trace.opaque
    assert not any(isinstance(arch.block(n), b.Whole) for n in arch.nodes)


def test_torchvision() -> None:
    from lawful.atlas.stubs import declare_torchvision

    declare_torchvision()
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        arch = lw.trace(models.get_model("shufflenet_v2_x0_5").eval(), torch.empty(2, 3, 64, 64))
    assert not arch.trace.opaque
    assert lw.derive(arch).count


IMAGE = b.Signal(2, (4, 4), channels_first=True)
TOKENS = b.Signal(4, (3,))


def standard(channels: int, width: int, kernel: int, epsilon: float = 0.0) -> b.Block:
    """A convolution by standardised kernels without padding."""
    return b.StandardConv(channels, width, (kernel,) * 2, (1, 1), (0, 0), (1, 1), epsilon=epsilon)


@pytest.mark.parametrize(
    "net",
    [
        standard(2, 2, 2) >> b.GlobalAveragePool(),
        b.Conv2d(2, 2, 1)
        >> standard(2, 2, 2)
        >> b.Affine(2)
        >> b.LeakyReLU()
        >> b.GlobalAveragePool()
        >> b.Linear(2, 2),
        b.Conv2d(2, 3, 1, bias=False) >> standard(3, 2, 2) >> b.Conv2d(2, 2, 1) >> b.GlobalAveragePool(),
        standard(2, 2, 2, 0.01) >> b.Affine(2) >> b.GlobalAveragePool(),
    ],
)
def test_standardised_kernels_against_the_oracle(net: b.Net) -> None:
    arch = lw.Architecture(net, input=IMAGE)
    count = lw.count(arch, known=None)
    laws = lw.derive(arch)
    assert count.verdict.passed
    assert laws.independent == count.laws
    assert {r.verdict.value for r in lw.verify(arch, laws).laws} <= GOOD


def test_a_temperature_says_that_its_own_laws_are_missing() -> None:
    arch = lw.Architecture(b.Linear(4, 4, False) >> b.Temperature(2) >> b.Linear(4, 2, False), input=TOKENS)
    laws = lw.derive(arch)
    assert lw.count(arch, known=None).laws == laws.independent + 2  # ||W_h||^2 - 2 p_h of both heads
    assert any("a learned temperature" in note for note in laws.notes)
    assert {r.verdict.value for r in lw.verify(arch, laws).laws} == {"holds"}


class Cosine(nn.Module):
    """Attention by cosines with learned temperatures, and biases that a map of fixed coordinates gives (Swin V2)."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4, bias=False) for _ in range(3))
        self.out, self.table = nn.Linear(4, 2), nn.Linear(2, 2)
        self.t = nn.Parameter(torch.ones(2, 1, 1))
        self.register_buffer("places", torch.randn(9, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, n, width = x.shape
        q, k, v = (f(x).view(size, n, 2, 2).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-1, -2) * self.t.clamp(max=4.0).exp()
        scores = scores + self.table(self.places).view(3, 3, 2).permute(2, 0, 1)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(size, n, width))


def test_cosine_attention_against_the_oracle() -> None:
    torch.manual_seed(0)
    module, x = Cosine(), torch.randn(2, 3, 4)
    arch, laws = holds(module, x)
    assert not arch.trace.opaque
    assert lw.count(module, args=(x,)).laws == laws.independent


class Running(nn.Module):
    """Running sums over features: only their degrees are known."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.out = nn.Linear(3, 3, bias=False), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.v(x).cumsum(2))


def test_degrees_give_true_laws_and_say_that_others_may_be_missing() -> None:
    torch.manual_seed(0)
    module, x = Running(), torch.randn(2, 3, 3)
    arch, laws = holds(module, x)
    assert not arch.trace.opaque
    assert laws.independent == 1  # ||V||^2 - ||O||^2
    assert lw.count(module, args=(x,)).laws > laws.independent
    assert any("degrees" in note for note in laws.notes)


class Gate(nn.Module):
    """Channels weighed by a convolution over their means (ECA)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 1)
        self.gate = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.leaky_relu(self.first(x))
        weights = self.gate(y.mean((2, 3)).unsqueeze(1)).sigmoid().view(y.shape[0], -1, 1, 1)
        return self.last(y * weights).mean((2, 3))


def test_a_convolution_over_channels_against_the_oracle() -> None:
    torch.manual_seed(0)
    module, x = Gate().eval(), torch.randn(2, 2, 3, 3)
    arch, laws = holds(module, x)
    assert not arch.trace.opaque and not arch.trace.narrow
    assert lw.count(module, args=(x,)).laws == laws.independent == 1


class Reversed(nn.Module):
    """Two maps of features that differ in what they compute and not in their degrees."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.one(y.triu()) + self.two(y.cumsum(2))


def test_calls_of_equal_degrees_are_not_the_same_computation() -> None:
    torch.manual_seed(0)
    module, x = Reversed(), torch.randn(2, 3, 3)
    arch, laws = holds(module, x)
    assert sum(isinstance(arch.block(n), b.Whole) for n in arch.nodes) == 2
    assert laws.independent <= lw.count(module, args=(x,)).laws


def test_the_statement_of_a_rule_by_degrees() -> None:
    rule = WholeRule(((("y0", 1), ("x0", -1), ("p0", -1)), (("x1", 1),)), (("w", (2, 2)),))
    assert "y0 = x0 + p0, x1 = 0" in rule.statement
