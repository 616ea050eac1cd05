"""What symmetries are for: balance, equal ranges, folds, alignment, audits, exports, parameter groups."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.blocks import ShapeError
from lawful.symmetry.least_norm import least_norm
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.verdict import Verdict

LLAMA = dict(layers=2, width=8, heads=4, kv_heads=2, hidden=6, vocabulary=11, context=5)


@pytest.fixture(scope="module")
def llama() -> Symmetries:
    return lw.symmetries(lw.families.llama(**LLAMA))


def gap(a: nn.Module, b: nn.Module, *args: torch.Tensor) -> float:
    with torch.no_grad():
        x, y = a(*args), b(*args)
    return float((x - y).abs().max() / x.abs().max())


def test_balance_is_one_point_of_every_orbit(llama: Symmetries) -> None:
    model = llama.arch.to_torch(torch.float64)
    other = model
    for s in llama.where(group="positive diagonal") + llama.where(group="general linear"):
        other = s.apply(other, s.random())
    one, two = lw.balance(model, network=llama), lw.balance(other, network=llama)
    for law in (s.law for s in llama if s.count):
        assert float(law.value(one).detach().abs().max()) < 1e-5
    norms = [sum(float(p.detach().square().sum()) for p in m.parameters()) for m in (one, two, model)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-9) and norms[0] < norms[2]
    assert gap(model, one, *llama.arch.random_inputs(2, torch.Generator())) < 1e-9
    with pytest.raises(KeyError, match="no symmetry is behind"):
        lw.balance(model, ["balance of nothing"], network=llama)
    with pytest.raises(TypeError, match="network="):
        lw.balance(dict(model.state_dict()))


def test_equal_ranges_lower_the_error_of_small_integers() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 8)).double()
    args = (torch.randn(32, 16),)
    s = lw.symmetries(model, args=args).where(group="positive diagonal")[0]
    uneven = s.apply(model, s.exp(2 * torch.randn(64)))
    equal = lw.equalise(uneven, args=args)

    def error(m: nn.Module) -> float:
        rounded = {
            n: (p / (t := p.abs().max() / 127)).round() * t if p.ndim > 1 else p for n, p in m.named_parameters()
        }
        return float((torch.func.functional_call(m, rounded, args[0].double()) - m(args[0].double())).detach().norm())

    assert gap(uneven, equal, args[0].double()) < 1e-12
    assert error(equal) < 0.2 * error(uneven)
    with pytest.raises(KeyError, match="no factor per channel"):
        lw.equalise(model, {"x": torch.ones(3)}, args=args)


def test_a_checkpoint_that_was_moved_by_every_symmetry_is_recognised(llama: Symmetries) -> None:
    model = llama.arch.to_torch()
    other = model
    for s in llama:
        other = s.apply(other, s.random())
    found = lw.same_function(model, other, network=llama)
    assert found and found.verdict is Verdict.HOLDS and len(found.moved) > 10
    assert lw.same_function(model, llama.arch.to_torch(seed=3), network=llama).verdict is Verdict.VIOLATED


def test_alignment_finds_the_permutation_of_noisy_copies() -> None:
    torch.manual_seed(0)
    arch = lw.families.mlp([6, 32, 32, 4])
    model = arch.to_torch()
    found = lw.symmetries(arch)
    other = model
    for s in found.where(group="permutation"):
        other = s.apply(other, s.random())
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.05 * p.std() * torch.randn_like(p))
    done = lw.align(model, other, network=found)
    x = torch.randn(64, 6)
    assert gap(other, done.model, x) < 1e-4 and done.distance[1] < 0.1 * done.distance[0]

    def measure(m: nn.Module) -> float:
        return float((m(x) - model(x)).square().mean())

    assert max(lw.barrier(model, done.model, measure)) < 0.1 * max(lw.barrier(model, other, measure))
    with pytest.raises(ShapeError, match="one architecture"):
        lw.align(model, lw.families.mlp([6, 8, 32, 4]).to_torch(), network=found)


class Block(nn.Module):
    """A norm with a gain and a shift, values with a bias, and a second norm that is added to the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.post = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.inner = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(x)
        x = x + self.post(self.attention(h, h, h, need_weights=False)[0])
        return self.head(self.inner(x))


def test_folds_are_exact_or_refused_with_a_reason() -> None:
    torch.manual_seed(0)
    model, x = Block().double(), torch.randn(2, 4, 8, dtype=torch.float64)
    for p in model.parameters():
        nn.init.normal_(p) if p.ndim == 1 else None
    found = lw.fold(model, args=(x,))
    assert found.error < 1e-12 and gap(model, found.model, x) < 1e-12
    assert torch.equal(found.model.norm.weight, torch.ones(8, dtype=torch.float64))
    assert float(found.model.attention.in_proj_bias[16:].detach().abs().max()) == 0
    assert "add" in found.refused["gain of post"] and "no bias" in found.refused["gain and shift of inner"]
    with pytest.raises(ValueError, match="no fold is called"):
        lw.fold(model, ["gains"], args=(x,))


class Scaled(nn.Module):
    """A stream between LayerNorms, with layer scale: per feature, and one number."""

    def __init__(self, reader: bool = False) -> None:
        super().__init__()
        self.stem, self.first, self.up = nn.Embedding(11, 6), nn.LayerNorm(6), nn.Linear(6, 5)
        self.down, self.scale = nn.Linear(5, 6), nn.Parameter(torch.randn(6))
        self.side, self.number = nn.Linear(6, 6, bias=False), nn.Parameter(torch.randn(1))
        self.last, self.head = nn.LayerNorm(6), nn.Linear(6, 4)
        self.reader = nn.Linear(6, 4) if reader else None

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.stem(ids)
        x = x + self.scale * self.down(self.up(self.first(x)).relu())
        x = x + self.number * self.side(torch.nn.functional.layer_norm(x, (6,)).tanh())
        out: torch.Tensor = self.head(self.last(x))
        return out if self.reader is None else out + self.reader(x)


def test_a_stream_between_layer_norms_turns_once_it_is_centred() -> None:
    torch.manual_seed(0)
    model, ids = Scaled(), torch.randint(11, (2, 3))
    found = lw.fold(model, ["norms", "scales", "centring"], args=(ids,), remove=True)
    assert found.done[-3:] == ("scale scale into down", "scale number into side", found.done[-1])
    assert found.done[-1].startswith("centring of stem, read by first, ") and found.error < 1e-12
    assert gap(model, found.model, ids) < 1e-5
    assert found.refused == {"layer_norm": "it is no nn.LayerNorm that an nn.RMSNorm could replace"}
    assert (
        isinstance(found.model.last, nn.RMSNorm) and float(found.model.down.weight.detach().mean(0).abs().max()) < 1e-6
    )


class Pooled(nn.Module):
    """A class token and a mean stand between a norm and its readers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head, self.mean = nn.LayerNorm(6), nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(x)
        out: torch.Tensor = self.head(h[:, 0]) + self.mean(h.mean(1))
        return out


def test_a_norm_is_folded_into_readers_behind_a_pick_of_tokens() -> None:
    torch.manual_seed(0)
    model, x = Pooled(), torch.randn(2, 4, 6)
    for p in model.norm.parameters():
        nn.init.normal_(p)
    found = lw.fold(model, args=(x,))
    assert found.done == ("gain and shift of norm into head, mean",) and gap(model, found.model, x) < 1e-5


def test_a_stream_that_something_else_reads_is_not_centred() -> None:
    found = lw.fold(Scaled(reader=True), args=(torch.randint(11, (2, 3)),))
    assert "reader" in found.refused["centring of stem"] and "scale scale into down" in found.done


def test_batchnorm_in_evaluation_goes_into_its_convolution() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, groups=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    )
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    x = torch.randn(2, 3, 4, 4)
    found = lw.fold(model.eval(), args=(x,))
    assert found.done == ("statistics, gain, shift of 1 into 0",) and gap(model, found.model, x) < 1e-5
    assert float(found.model[1].running_mean.abs().max()) == 0


def test_a_stream_turns_once_its_gains_are_folded() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm, self.up = nn.Embedding(9, 6), nn.RMSNorm(6), nn.Linear(6, 5)
            self.down, self.last, self.head = nn.Linear(5, 6), nn.RMSNorm(6), nn.Linear(6, 4)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.stem(ids)
            x = x + self.down(nn.functional.gelu(self.up(self.norm(x))))
            return self.head(self.last(x))

    model, args = Net(), (torch.randint(9, (2, 3)),)
    assert "fold them" in lw.export.rotation_maps(lw.symmetries(model, args=args))["why"]
    folded = lw.fold(model, args=args, remove=True)
    found = lw.symmetries(folded.model, args=args)
    (turn,) = found.where(group="orthogonal")
    assert turn.verify().verdict is Verdict.HOLDS and "angular momentum" in turn.law.name
    assert lw.export.rotation_maps(found)["R1"]["size"] == 6


def test_audit_accuses_wrong_maps_alone(llama: Symmetries) -> None:
    right = lw.export.awq(llama)
    assert lw.audit(right, llama).verdict is Verdict.HOLDS
    for i, entry in enumerate(right):
        if len(entry["balance_layers"]) > 1:
            *kept, lost = entry["balance_layers"]
            (found,) = lw.audit([[kept, entry["smooth_layer"]]], llama).findings
            assert found.verdict is Verdict.VIOLATED and found.missing == (lost,) and found.error > 1e-3, i
    assert lw.audit({"scale": "nothing", "compensate": "norm"}, llama).verdict is Verdict.VACUOUS
    with pytest.raises(ValueError, match="cannot read"):
        lw.audit([{"smooth": "a"}], llama)


def test_patterns_match_what_was_derived_and_nothing_else(llama: Symmetries) -> None:
    names = {n.rpartition(".")[0] for n in llama.arch.parameters}
    folded = lw.export.patterns(lw.export.awq(llama), names)
    assert len(folded) < len(lw.export.awq(llama)) and lw.audit(folded, llama).verdict is Verdict.HOLDS
    with pytest.raises(ValueError, match="no such symmetry"):
        lw.export.patterns(lw.export.awq(llama), [*names, "layers.7.mlp.branch.norm.affine"])


def test_the_command_line_audits_a_map(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from lawful.cli import app

    path = tmp_path / "map.json"
    path.write_text(json.dumps([[["fc2"], "fc1"], [["fc3"], "fc1"]]))
    out = CliRunner().invoke(app, ["audit", str(path), "family:mlp:widths=3,4,4,2", "--json"])
    data = json.loads(out.stdout)
    assert out.exit_code == 1 and [e["verdict"] for e in data["entries"]] == ["holds", "violated"]
    assert data["entries"][1]["missing"] == ["fc2"] and data["entries"][1]["wrong"] == ["fc3"]


def test_parameter_groups_hold_every_parameter_once() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=True), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    groups = lw.param_groups(model, args=(torch.randn(3, 3, 4, 4),), weight_decay=0.1)
    named = {g["name"]: g["names"] for g in groups}
    assert named["unseen"] == ["0.bias"] and named["scale_invariant"] == ["0.weight"]
    assert sorted(n for g in groups for n in g["names"]) == sorted(n for n, _ in model.named_parameters())
    torch.optim.AdamW(groups)


class StateSpace(nn.Module):
    """A diagonal state space model by hand: `h = exp(dt A) h + u` with `A = -exp(A_log)`, and a token of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.step, self.write = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.A_log, self.first = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = self.read(x) + self.first
        decay = torch.exp(nn.functional.softplus(self.step(u)) * -torch.exp(self.A_log))
        h, out = torch.zeros_like(u[:, 0]), []
        for t in range(x.shape[1]):
            h = decay[:, t] * h + u[:, t]
            out.append(h.tanh())
        return self.write(torch.stack(out, 1))


def test_how_fast_a_state_decays_is_no_table_and_has_no_decay() -> None:
    torch.manual_seed(0)
    groups = {g["name"]: g for g in lw.param_groups(StateSpace(), args=(torch.randn(2, 3, 5),))}
    assert groups["rates"]["names"] == ["A_log"] and groups["rates"]["weight_decay"] == 0
    assert "first" in groups["gains"]["names"]  # one row that is added everywhere is a shift
    model = lw.families.mamba(layers=1, width=4, vocabulary=5, context=6).to_torch()
    (rate,) = [g["name"] for g in lw.param_groups(model) if any(n.endswith("log_a") for n in g["names"])]
    assert rate == "rates"


def test_consumers_in_a_mixture_of_experts_are_all_named() -> None:
    """A norm before experts is read by the router, every expert, the shared expert and its gate."""

    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm, self.router = nn.Linear(6, 6), nn.RMSNorm(6), nn.Linear(6, 2)
            self.up = nn.Parameter(torch.randn(2, 5, 6))
            self.down = nn.Parameter(torch.randn(2, 6, 5))
            self.shared, self.shared_gate = nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Linear(4, 6)), nn.Linear(6, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.norm(self.stem(x))
            p = self.router(h).softmax(-1)
            y = sum(p[..., i : i + 1] * (torch.relu(h @ self.up[i].T) @ self.down[i].T) for i in range(2))
            return y + torch.sigmoid(self.shared_gate(h)) * self.shared(h)

    torch.manual_seed(0)
    found = lw.symmetries(Mixture(), args=(torch.randn(4, 6),))
    (entry,) = [e for e in lw.export.awq(found) if e["smooth_layer"] == "norm"]
    assert set(entry["balance_layers"]) == {"router", "up", "shared.0", "shared_gate"}
    for lost in ("router", "up", "shared.0", "shared_gate"):
        kept = [x for x in entry["balance_layers"] if x != lost]
        (finding,) = lw.audit([[kept, "norm"]], found).findings
        assert finding.verdict is Verdict.VIOLATED and finding.missing == (lost,)


class Together(nn.Module):
    """Attention of one head and a map beside it from one matrix, into one that a LayerNorm reads: a rank is too low."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.fused = nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 18, bias=False)
        self.out, self.last, self.head = nn.Linear(10, 4), nn.LayerNorm(4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        q, k, v, m = self.fused(self.norm(x)).split([4, 4, 4, 6], -1)
        a = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.head(self.last(x + self.out(torch.cat([a, nn.functional.gelu(m)], -1))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_parallel_block_moved_by_everything_is_recognised(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, x = Together().to(dtype), torch.randn(2, 3, 3, dtype=dtype)
    found = lw.symmetries(model, x)
    other = model
    for s in found:
        other = s.apply(other, s.random())
    same = lw.same_function(model, other, network=found)
    assert same and same.parameters < (1e-9 if dtype is torch.float64 else 1e-5), same
    done = least_norm(dict(model.named_parameters()), [s for s in found if s.lawful])
    assert done.sweeps < 60 and not done.left
    assert gap(model, lw.balance(model, network=found), x) < (1e-12 if dtype is torch.float64 else 1e-5)
