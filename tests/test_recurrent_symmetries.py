"""Hidden units of recurrent layers change places, gates together; odd cells change signs."""

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.theory.verdict import Verdict


class Reader(nn.Module):
    """A recurrent layer between two others, read at every token or at its end."""

    def __init__(self, kind, last=False, given=False, **options):
        super().__init__()
        self.layer = kind(3, 4, batch_first=True, **options)
        self.head = nn.Linear(4 * (2 if options.get("bidirectional") else 1), 2)
        self.last, self.given = last, given
        if given:
            self.start = nn.Linear(3, 4)

    def forward(self, x):
        h, _ = self.layer(x, self.start(x[:, 0])[None]) if self.given else self.layer(x)
        return self.head(h[:, -1] if self.last else h)


OPTIONS = [
    {},
    {"bias": False, "last": True},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_every_layer_and_direction_may_reorder_its_units_and_change_their_signs(kind, options):
    torch.manual_seed(0)
    model, x = Reader(kind, **options).eval(), torch.randn(2, 3, 3)
    found = lw.symmetries(model, args=(x,))
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    for group in ("permutation", "signs"):
        some = found.where(group=group)
        assert [s.shape for s in some] == [(4,)] * count
        assert all(s.verify().verdict is Verdict.HOLDS for s in some)
        assert {p for s in some for p in s.parameters} >= {n for n, _ in model.layer.named_parameters(prefix="layer")}
    assert not [n for n in found.notes if "hidden units" in n]


def test_the_gates_go_together_and_signs_are_those_of_the_candidate():
    found = lw.symmetries(Reader(nn.LSTM), args=(torch.randn(2, 3, 3),))
    blocks = lw.export.git_rebasin(found)["blocks"]
    (cuts,) = blocks.values()
    assert ["layer.weight_ih_l0", 0, {"start": 0, "before": 4, "count": 4, "width": 1}] in cuts
    assert ["layer.weight_hh_l0", 1, {"start": 0, "before": 1, "count": 4, "width": 1}] in cuts
    (signs,) = found.where(group="signs")
    assert [m.part.slices for m in signs.moves if m.parameter == "layer.weight_ih_l0"] == [((8, 12),)]


def test_a_rectifier_has_no_signs_and_a_given_state_goes_with_the_units():
    x = torch.randn(2, 3, 3)
    assert not lw.symmetries(Reader(nn.RNN, nonlinearity="relu"), args=(x,)).where(group="signs")
    (turned,) = lw.symmetries(Reader(nn.GRU, given=True), args=(x,)).where(group="permutation")
    assert "start.weight" in turned.parameters and turned.verify().verdict is Verdict.HOLDS


def test_states_that_are_an_output_keep_their_order():
    found = lw.symmetries(nn.GRU(3, 4, batch_first=True), args=(torch.randn(2, 3, 3),))
    assert not found.where(group="permutation") and not found.where(group="signs")


def test_two_networks_that_differ_by_the_order_of_their_units_are_one():
    model, x = Reader(nn.LSTM), torch.randn(2, 3, 3)
    (one,) = lw.symmetries(model, args=(x,)).where(group="permutation")
    moved = one.apply(model, one.random(torch.Generator().manual_seed(1)))
    assert lw.same_function(model, moved, args=(x,))
