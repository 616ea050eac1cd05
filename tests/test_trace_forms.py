"""What people hand over: every form of inputs and outputs that derive, verify, count and check accept alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw

X = torch.randn(4, 3)
CLASSES = torch.tensor([0, 1, 1, 0])


class Net(nn.Module):
    """A hidden layer `a` of 4 ReLU units and a map `h` of them, used by a given forward."""

    def __init__(self, forward: Callable[..., Any], width: int = 2, **parts: nn.Module) -> None:
        super().__init__()
        self.a, self.h = nn.Linear(3, 4), nn.Linear(4, width)
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = forward

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.a(x))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: Any = None


def policy(m: Any, x: torch.Tensor) -> Any:
    return m.h(m.hidden(x)), m.value(m.hidden(x)).squeeze(-1)


def with_loss(m: Any, x: torch.Tensor, y: torch.Tensor) -> Any:
    z = m.h(m.hidden(x))
    return z, F.cross_entropy(z, y)


def normalised(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.h(m.hidden((x - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])))


FORMS: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...], int]] = {
    "a number per example": (lambda: Net(lambda m, x: m.h(m.hidden(x)).squeeze(-1), 1), (X,), 4),
    "policy and value": (lambda: Net(policy, value=nn.Linear(4, 1)), (X,), 4),
    "logits and their loss": (lambda: Net(with_loss, 3), (X, CLASSES), 4),
    "a cross-entropy": (lambda: Net(lambda m, x, y: F.cross_entropy(m.h(m.hidden(x)), y), 3), (X, CLASSES), 9),
    "a mean square": (lambda: Net(lambda m, x, y: ((m.h(m.hidden(x)) - y) ** 2).mean()), (X, torch.randn(4, 2)), 4),
    "mse_loss": (lambda: Net(lambda m, x, y: F.mse_loss(m.h(m.hidden(x)), y)), (X, torch.randn(4, 2)), 4),
    "a dataclass": (lambda: Net(lambda m, x: Answer(m.h(m.hidden(x)))), (X,), 4),
    "nested": (lambda: Net(lambda m, x: {"out": [{"z": m.h(m.hidden(x)), "no": None}], "n": 3, "s": "x"}), (X,), 4),
    "numbers made in the forward": (lambda: Net(normalised), (X,), 4),
    "one example without a batch": (lambda: Net(lambda m, x: m.h(m.hidden(x))), (torch.randn(3),), 4),
    "the last token": (lambda: Net(lambda m, x: m.h(m.hidden(x)[:, [-1]])), (torch.randn(2, 3, 3),), 4),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_question_takes_every_form(form: str) -> None:
    torch.manual_seed(0)
    make, args, laws = FORMS[form]
    module = make()
    found = lw.derive(module, args=args)
    assert (found.exact_independent, found.gaps) == (laws, ())
    assert lw.verify(module, found, args=args).verdict is not lw.Verdict.VIOLATED
    assert lw.count(module, args=args).laws == laws


def test_noise_is_an_input() -> None:
    def vae(m: Any, x: torch.Tensor) -> Any:
        h = m.hidden(x)
        mean, log = m.h(h), m.log(h)
        return m.decoder(mean + torch.exp(0.5 * log) * torch.randn_like(mean)), mean, log

    torch.manual_seed(0)
    module = Net(vae, log=nn.Linear(4, 2), decoder=nn.Linear(2, 3))
    arch = lw.trace(module, X)
    assert not arch.trace.opaque
    assert any("inputs: randn_like" in note for note in arch.trace.notes)
    laws = lw.derive(module, args=(X,))
    assert laws.independent == lw.count(module, args=(X,)).laws == 4
    assert lw.verify(module, laws, args=(X,)).verdict is lw.Verdict.HOLDS


def test_a_gumbel_gate_is_derived() -> None:
    module = Net(lambda m, x: m.h(F.gumbel_softmax(m.a(x), 1.0)))
    laws = lw.derive(module, args=(X,))
    assert (laws.exact_independent, laws.notes) == (6, ())


def test_what_is_detached_is_an_input_and_moves_unseen() -> None:
    module = Net(lambda m, x: (m.h(m.a(x)), F.normalize(m.a(x).detach(), dim=-1)))
    assert lw.derive(module, args=(X,)).exact_independent == 10


def test_a_step_sends_nothing_back() -> None:
    torch.manual_seed(0)
    module = Net(lambda m, x: m.h((m.a(x) > 0).float()) + m.c(x), c=nn.Linear(3, 2))
    laws = lw.derive(module, args=(X,))
    assert laws.exact_independent == 18  # nothing of `a` ever moves
    assert lw.verify(module, laws, args=(X,)).verdict is lw.Verdict.HOLDS


def test_attention_over_inputs_without_a_batch() -> None:
    def attend(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.h((m.q(x) @ m.k(x).t() / 2).softmax(-1) @ m.a(x))

    module = Net(attend, 3, q=nn.Linear(3, 4), k=nn.Linear(3, 4))
    laws = lw.derive(module, args=(torch.randn(5, 3),))
    assert (laws.exact_independent, laws.notes) == (24, ())


def test_a_sequence_first_encoder_with_its_mask() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 4, 0.0), 1, enable_nested_tensor=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x, mask=nn.Transformer.generate_square_subsequent_mask(len(x)))

    arch = lw.trace(Encoder(), torch.randn(3, 2, 4))
    assert not arch.trace.opaque and not arch.trace.narrow


def test_a_lazy_module_says_what_to_do() -> None:
    with pytest.raises(lw.TraceError, match=r"is lazy: its parameter 0\.weight .* call it once"):
        lw.derive(nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2)), args=(X,))


def test_sparse_gradients_of_tables_are_read() -> None:
    module, ids = nn.Sequential(nn.Embedding(6, 4, sparse=True), nn.Linear(4, 2)), torch.randint(6, (3, 4))
    laws = lw.derive(module, args=(ids,))
    assert lw.verify(module, laws, args=(ids,)).verdict is lw.Verdict.HOLDS
