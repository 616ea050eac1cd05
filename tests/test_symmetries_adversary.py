"""What an adversary found with models that are not made of our blocks: copies, empty lists, nested permutations."""

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.theory.verdict import Verdict


class Interleaved(nn.Module):
    """A gate and its values in turn: no rule cuts them apart, so that nothing is found."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.h = nn.Linear(4, 8), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.p(x)
        out: torch.Tensor = self.h(nn.functional.gelu(y[..., ::2]) * y[..., 1::2])
        return out


def test_a_network_without_symmetries_is_taken_by_every_tool() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Tanh()), torch.randn(3, 4)
    found = lw.symmetries(model, args=(x,))
    assert len(found) == 0
    assert [g["name"] for g in lw.param_groups(model, network=found)] == ["matrices"]
    assert lw.fold(model, network=found).done == ()
    assert lw.same_function(model, model, network=found).verdict is Verdict.HOLDS
    assert torch.equal(lw.align(model, model, network=found).model[0].weight, model[0].weight)


def test_a_gate_and_its_values_in_turn_raise_nothing() -> None:
    torch.manual_seed(0)
    model, x = Interleaved(), torch.randn(3, 4)
    found = lw.symmetries(model, args=(x,))
    assert all(s.verify().error < 1e-9 for s in found)
    assert sum(len(g["names"]) for g in lw.param_groups(model, network=found)) == 4


@pytest.mark.filterwarnings("ignore")
def test_modules_that_keep_what_they_computed_are_copied() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 6)), nn.ReLU(), nn.Linear(6, 3))
    x = torch.randn(4, 5)
    found = lw.symmetries(model, args=(x,))
    model(x)
    moved = model
    for s in found:
        moved = s.apply(moved, s.random())
    with torch.no_grad():
        assert float((moved(x) - model(x)).abs().max()) < 1e-4
        assert float((lw.balance(model, network=found)(x) - model(x)).abs().max()) < 1e-4
    assert lw.fold(model, network=found).error < 1e-9


class Post(nn.Module):
    """A stream between norms that are added to it: factors along the vector of ones pass."""

    def __init__(self) -> None:
        super().__init__()
        self.e, self.u, self.d = nn.Embedding(11, 8), nn.Linear(8, 12), nn.Linear(12, 8)
        self.norm, self.h = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.e(ids)
        out: torch.Tensor = self.h(self.norm(x + self.d(nn.functional.gelu(self.u(x)))))
        return out


def test_a_stream_that_is_stretched_along_ones_is_recognised() -> None:
    torch.manual_seed(0)
    model, ids = Post(), torch.randint(11, (2, 5))
    found = lw.symmetries(model, args=(ids,))
    moved = model
    for s in found:
        moved = s.apply(moved, s.random())
    assert lw.same_function(model, moved, network=found).verdict is Verdict.HOLDS


class Experts(nn.Module):
    """Experts in a list: they change places, and so do the hidden units of each."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.head = nn.Linear(6, 3), nn.Linear(6, 8)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 6)) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = self.router(x).softmax(-1)
        out: torch.Tensor = self.head(sum(p[..., i : i + 1] * e(x) for i, e in enumerate(self.experts)))
        return out


def test_experts_are_matched_before_their_units() -> None:
    torch.manual_seed(0)
    model, x = Experts(), torch.randn(4, 6)
    found = lw.symmetries(model, args=(x,))
    moved = model
    for s in found.where(group="permutation"):
        moved = s.apply(moved, s.random())
    assert lw.align(model, moved, network=found).distance[1] < 1e-6
    for s in found:
        moved = s.apply(moved, s.random())
    assert lw.same_function(model, moved, network=found).verdict is Verdict.HOLDS


def test_a_map_in_a_module_of_several_is_named_by_its_parameter() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.RMSNorm(6)
            self.up, self.down = nn.Parameter(torch.randn(5, 6)), nn.Parameter(torch.randn(2, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.norm(x) @ self.up.T) @ self.down.T

    torch.manual_seed(0)
    found = lw.symmetries(Root(), args=(torch.randn(3, 6),))
    maps = lw.export.awq(found)
    assert {"smooth_layer": "norm", "balance_layers": ["up"]} in maps
    assert lw.audit(maps, found).verdict is Verdict.HOLDS
    (turned,) = lw.audit({"smooth_layer": "up", "balance_layers": ["norm"]}, found).findings
    assert turned.wrong == ("norm",)


class Recurrent(nn.Module):
    """An embedding, a recurrent layer, a head."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.emb, self.head = nn.Embedding(11, 8), nn.Linear(6, 5)
        self.rnn: nn.RNNBase = getattr(nn, kind)(8, 6, batch_first=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.rnn(self.emb(ids))[0])
        return out


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_recurrent_layer_is_no_module_that_tools_scale_and_its_orders_are_listed(kind: str) -> None:
    model, ids = Recurrent(kind), torch.randint(11, (2, 4))
    found = lw.symmetries(model, args=(ids,))
    assert [s.shape for s in found.where(group="permutation", parameter="rnn.weight_hh_l0")] == [(6,)]
    assert lw.export.awq(found) == [] and lw.export.rotation_maps(found)["R2"] == []
    assert lw.audit({"scale": "emb", "compensate": ["rnn.weight_ih_l0"]}, found).verdict is Verdict.HOLDS
    (tables,) = [g["names"] for g in lw.param_groups(model, network=found) if g["name"] == "tables"]
    assert tables == ["emb.weight"]
    with pytest.raises(ValueError, match=r"rnn\.weight_ih_l0 is none of the modules"):
        entry = {"smooth_layer": "emb", "balance_layers": ["rnn.weight_ih_l0"]}
        lw.export.patterns([entry], [n for n, _ in model.named_modules()])


def test_batchnorm_in_training_mode_is_told_so_and_has_no_weight_that_reads_channels() -> None:
    model, x = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)),
        torch.randn(2, 3, 5, 5),
    )
    assert "training mode" in lw.fold(model, args=(x,)).refused["1"]
    (finding,) = lw.audit({"scale": "0", "compensate": ["1"]}, model, args=(x,)).findings
    assert "1 has one number for a channel, and nothing that reads channels" in finding.reason
    assert lw.fold(model.eval(), args=(x,)).done == ("statistics, gain, shift of 1 into 0",)
    unkept = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.ReLU(), nn.Linear(4, 2))
    (why,) = lw.fold(unkept.eval(), args=(x[:, :, 0, 0],)).refused.values()
    assert "also in evaluation" in why


class Towers(nn.Module):
    """Two towers whose outputs are divided by their size, and a table that reads and writes one stream."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(5, 4), nn.Linear(3, 4)
        self.out = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3, bias=False))
        self.decoder = nn.Linear(4, 5)
        self.decoder.weight = self.user.weight

    def forward(self, ids: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        h = self.user(ids)
        a, b = (nn.functional.normalize(self.out(z), dim=-1) for z in (h, self.item(x)))
        return torch.cat([a @ b.T, self.decoder(h)], -1)


def test_tied_weights_and_weights_of_no_size_are_matched() -> None:
    torch.manual_seed(0)
    model, args = Towers().double(), (torch.randint(5, (3,)), torch.randn(3, 3, dtype=torch.float64))
    found = lw.symmetries(model, args)
    assert {"scalar", "permutation"} <= {s.group for s in found}
    other = model
    for s in found.where(group="permutation"):
        other = s.apply(other, s.random())
    assert lw.align(model, other, network=found).distance[1] == 0
    for s in found:
        other = s.apply(other, s.random())
    same = lw.same_function(model, other, network=found)
    assert same and same.parameters < 1e-6 and "decoder.weight" not in same.moved


class Twice(nn.Module):
    """One tower for two inputs, of which the difference is taken: its norm is used twice, its last bias is not seen."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))
        self.head = nn.Linear(4, 1)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head((self.tower(a) - self.tower(b)).abs())
        return out


def test_statistics_of_a_norm_that_is_used_twice_move_once() -> None:
    torch.manual_seed(0)
    model = Twice().eval()
    model.tower[1].running_mean.normal_()
    model.tower[1].running_var.uniform_(0.5, 2)
    found = lw.symmetries(model, (torch.randn(4, 3), torch.randn(4, 3)))
    assert not [n for n in found.notes if "no symmetry" in n]
    (units,) = (s for s in found.where(group="permutation") if "tower.1.running_var" in s.parameters)
    assert units.shape == (5,)
    assert all(s.verify().verdict is Verdict.HOLDS for s in found)  # signs of the difference: each answers alone
