"""True float64 inside of modules that cast."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lawful.atlas.stubs import declare_torchvision
from lawful.graph.questions.count import count
from lawful.theory.oracle import modules
from lawful.theory.oracle.double import double
from lawful.theory.oracle.modules import module_points

X = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
NARROW = torch.randn(3, 3)
MAKERS = {
    "float": lambda: X.float(),
    "half": lambda: X.half(),
    "bfloat16": lambda: X.bfloat16(),
    "to": lambda: X.to(torch.float32),
    "to keyword": lambda: X.to(dtype=torch.bfloat16),
    "to other": lambda: X.to(NARROW),
    "type": lambda: X.type(torch.float16),
    "type by name": lambda: X.type("torch.FloatTensor"),
    "type_as": lambda: X.type_as(NARROW),
    "softmax": lambda: F.softmax(X, -1, dtype=torch.float32),
    "sum": lambda: X.sum(0, dtype=torch.float32),
    "mean": lambda: torch.mean(X, dtype=torch.float32),
    "integers": lambda: torch.arange(3).float(),
    "arange": lambda: torch.arange(3, dtype=torch.float32),
    "steps": lambda: torch.arange(0, 1, 0.1),
    "zeros": lambda: torch.zeros(3),
    "ones": lambda: torch.ones(3, dtype=torch.float16),
    "zeros_like": lambda: torch.zeros_like(X, dtype=torch.float32),
    "new": lambda: X.new_zeros(3, dtype=torch.float32),
    "tensor": lambda: torch.tensor([1.0]),
    "aten": lambda: torch.ops.aten.to.dtype(X, torch.float32),
    "product": lambda: X @ NARROW,
    "linear": lambda: F.linear(X, NARROW),
    "mask": lambda: F.scaled_dot_product_attention(X, X, X, attn_mask=torch.zeros(2, 2).float()),
    "narrow mask": lambda: F.scaled_dot_product_attention(X, X, X, attn_mask=NARROW[:2, :2]),
    "complex": lambda: torch.view_as_complex(torch.randn(3, 2)).to(torch.complex64).real,
}


@pytest.mark.parametrize("name", MAKERS)
def test_everything_is_float64_inside(name):
    with double():
        assert MAKERS[name]().dtype == torch.float64


def test_nothing_changes_outside_and_integers_stay():
    with pytest.raises(KeyError), double():
        assert X.long().dtype == torch.int64 and X.to(torch.bool).dtype == torch.bool
        raise KeyError
    assert torch.get_default_dtype() == torch.float32
    assert X.float().dtype == torch.float32 and torch.zeros(1).dtype == torch.float32


def test_writes_stay_writes():
    narrow = torch.zeros(2, 3)
    with double():
        narrow.copy_(X)
        narrow[0] = X[0] * 2
    assert torch.equal(narrow[0], (X[0] * 2).float())


def test_values_are_not_rounded():
    with double():
        assert torch.equal(X.float().to(torch.bfloat16).half(), X)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.allclose(X @ X.T, (X.unsqueeze(1) * X).sum(-1), rtol=1e-14)


def test_transforms_work_inside_and_around():
    def f(t):
        with double():
            return (t.float() ** 3).sum().to(torch.bfloat16)

    inside = torch.func.vmap(torch.func.grad(f))(X)
    with double():
        around = torch.func.vmap(torch.func.grad(lambda t: (t.float() ** 3).sum()))(X)
    assert torch.allclose(inside, 3 * X**2, rtol=1e-15) and torch.equal(inside, around)


def test_fused_attention_has_second_derivatives():
    q = X[None]
    with double():
        slope = torch.func.grad(lambda t: F.scaled_dot_product_attention(t, t, t).pow(2).sum())
        _, second = torch.func.jvp(slope, (q,), (q,))
    step = 1e-5
    with double():
        numerical = (slope(q * (1 + step)) - slope(q * (1 - step))) / (2 * step)
    assert torch.allclose(second, numerical, rtol=1e-6, atol=1e-8)


def test_products_by_groups_are_those_of_the_kernel():
    rows, matrices = torch.randn(6, 8), torch.randn(3, 8, 4)
    offsets = torch.tensor([2, 2, 6], dtype=torch.int32)
    kernel = F.grouped_mm(rows, matrices, offs=offsets)
    with double():
        ours = F.grouped_mm(rows.double(), matrices.double(), offs=offsets)
        aten = torch.ops.aten._grouped_mm.default(rows.double(), matrices.double(), offsets)
    expected = torch.cat([rows[:2] @ matrices[0], rows[2:] @ matrices[2]])
    assert torch.allclose(kernel, expected, atol=1e-5)
    assert ours.dtype == torch.float64 and torch.allclose(ours.float(), expected, atol=1e-5)
    assert torch.equal(ours, aten)


class Norm(nn.Module):
    """RMSNorm as published: in float32, whatever the weights are."""

    def forward(self, x):
        wide = x.to(torch.float32)
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True))).to(x.dtype)


def scale_residual(module, names, **options):
    """How far the loss changes when all that is summed before a norm without epsilon grows together."""
    worst = 0.0
    for point in module_points(module, "mse", samples=2, seed=0, **options):
        chosen = [n for n in point.parameters if n.endswith(names)]
        assert chosen and point.moves
        terms = torch.cat([(point.parameters[n] * point.gradient[n]).reshape(-1) for n in chosen])
        worst = max(worst, float(terms.sum().abs() / terms.abs().sum()))
    return worst


def test_a_true_law_is_exact_behind_a_cast(monkeypatch):
    module = nn.Sequential(nn.Linear(3, 4, bias=False), Norm(), nn.Linear(4, 2))
    assert scale_residual(module, ("0.weight",), args=(X.float(),)) < 1e-15
    monkeypatch.setattr(modules, "double", lambda: torch.enable_grad())
    assert scale_residual(module, ("0.weight",), args=(X.float(),)) > 1e-10


def test_the_oracle_counts_behind_a_cast():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), Norm(), nn.Linear(2, 1))
    found = count(module, args=(torch.randn(3, 2),))
    assert found.verdict.passed and found.laws == 1


class Asked(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 3), nn.Linear(3, 2, bias=False)
        self.seen = None

    def forward(self, ids, *, attention_mask=None, scale=None, flag=False):
        assert flag is True and scale is None
        assert attention_mask.dtype == torch.int64
        return self.head(self.embed(ids) * attention_mask[..., None])


IDS = torch.tensor([[1, 2, 4], [0, 3, 1]])
ASKED = {"attention_mask": torch.tensor([[1, 1, 0], [1, 0, 0]]), "scale": None, "flag": True}


def test_keyword_inputs_reach_the_module():
    points = module_points(Asked(), "mse", (IDS,), 3, 0, kwargs=ASKED)
    assert all(p.moves for p in points)
    found = count(Asked(), args=(IDS,), kwargs=ASKED)
    assert found.verdict.passed and found.laws == 6  # the symmetric forms of the 3 features in between
    assert count(Asked(), kwargs={"ids": IDS, **ASKED}).laws == 6


TINY = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "use_cache": False, "intermediate_size": 12}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 0.0, "head_dim": 4}
STREAM = ("embed_tokens.weight", "shared.weight", ".o_proj.weight", "down_proj.weight", ".o.weight", ".wo.weight")


def transformer(name):
    declare_torchvision()
    library = pytest.importorskip("transformers")
    if name == "T5":
        config = library.T5Config(
            vocab_size=20, d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, layer_norm_epsilon=0.0
        )
        return library.T5EncoderModel(config).eval()
    config = getattr(library, f"{name}Config")(**TINY, **HEADS)
    return getattr(library, f"{name}Model")(config).eval()


@pytest.mark.parametrize("name", ["Llama", "Qwen3", "T5"])
def test_published_models_keep_their_laws_to_rounding(name):
    inputs = {"input_ids": torch.randint(20, (2, 5)), "attention_mask": torch.ones(2, 5, dtype=torch.int64)}
    assert scale_residual(transformer(name), STREAM, args=(), kwargs=inputs) < 1e-13
