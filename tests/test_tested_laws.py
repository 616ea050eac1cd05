"""Laws of a module are tested on its own gradient before they are listed: a false rule cannot pass."""

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.graph.questions import derive as engine
from lawful.theory.oracle.verification import corruptions
from lawful.theory.verdict import Verdict

MODELS = {
    "perceptron": (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(5, 3), "mse"),
    "convolutions": (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1)),
        torch.randn(2, 3, 8, 8),
        "cross_entropy",
    ),
    "encoder": (nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), torch.randn(2, 5, 8), "mse"),
    "embedding": (nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 5)), torch.arange(12).reshape(2, 6) % 7, "mse"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_true_laws_stay_and_false_ones_go(name, monkeypatch):
    """With the first law corrupted, as by a wrong rule, all others are listed and a note names the one that is not."""
    torch.manual_seed(0)
    model, x, loss = MODELS[name]
    true = lw.derive(model, loss, args=(x,))
    assert len(true) and not any("bug of lawful" in note for note in true.notes)
    at = next(i for i, law in enumerate(true) if law.exact and corruptions(law))

    def wrong(diagram, label):
        laws = solve(diagram, label)
        found = list(laws)
        found[at] = corruptions(found[at])[0]
        return type(laws)(found, laws.independent, laws.exact_independent, laws.loss, laws.parameters, laws.notes)

    solve = engine.solve
    monkeypatch.setattr(engine, "solve", wrong)
    laws = lw.derive(model, loss, args=(x,))
    assert [law.name for law in laws] == [law.name for i, law in enumerate(true) if i != at]
    assert laws.independent == true.independent - true[at].independent
    (note,) = [n for n in laws.notes if "bug of lawful" in n]
    assert note.startswith(true[at].name)
    assert lw.verify(model, laws, loss, args=(x,)).verdict in (Verdict.HOLDS, Verdict.APPROXIMATE, Verdict.VACUOUS)


def test_a_module_that_does_not_move_refutes_nothing():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].bias.fill_(-1e6)  # every unit is dead
    assert lw.derive(model, args=(torch.randn(5, 3),)).independent == 4
