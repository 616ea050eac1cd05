"""What is said though no gradient is wrong: torch's own designs, codebooks, inference mode, checkpoints."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from wrong_backwards import WrongTanh

from lawful.testing import assert_lawful

X = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
IDS = torch.randint(0, 7, (10, 6), generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c, self.code = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3), nn.Embedding(7, 8)
        self.code.requires_grad_(False)

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.middle(x))


class Inferred(Net):
    def middle(self, x):
        with torch.inference_mode():
            h = self.a(x)
        return self.b(h.clone()).relu()


class Decorated(Net):
    @torch.inference_mode()
    def features(self, x):
        return self.a(x)

    def middle(self, x):
        return self.b(self.features(x).clone()).relu()


class Again(Net):
    def middle(self, x):
        return checkpoint(self.part, self.a(x), use_reentrant=True)


class Detached(Again):
    def part(self, h):
        return self.b(h.detach()).relu()


class Shut(Again):
    def part(self, h):
        with torch.no_grad():
            gate = self.b(h).sigmoid()
        return gate * h


class TwoValues(Net):
    def part(self, h):
        return self.b(h).relu(), self.b(h).detach()

    def middle(self, x):
        one, two = checkpoint(self.part, self.a(x), use_reentrant=True)
        return one * two


class Codes(Net):
    """A straight-through codebook that no loss teaches."""

    def __init__(self):
        super().__init__()
        self.code.requires_grad_()

    def middle(self, x):
        z = self.a(x)
        e = self.code(torch.cdist(z, self.code.weight).argmin(-1))
        return self.b(z + (e - z).detach()).relu()


ASKED = {
    Inferred: ("an inference_mode region", "with torch.inference_mode():"),
    Decorated: ("an inference_mode region", "self.features(x)"),
    Detached: ("detach() or .data", "self.b(h.detach())"),
    Shut: ("a no_grad region", "with torch.no_grad():"),
    TwoValues: ("detach() or .data", "self.b(h).detach()"),
    Codes: ("detach() or .data", "(e - z).detach()"),
}


@pytest.mark.parametrize("kind", ASKED, ids=lambda kind: kind.__name__)
def test_what_stops_out_of_sight_is_asked_about_with_its_line(kind: type[Net]) -> None:
    with pytest.raises(AssertionError, match="gradients stop at 1 place") as error:
        assert_lawful(kind(), X)
    text = str(error.value)
    assert all(part in text for part in ASKED[kind]) and "wrong gradients" not in text
    line = text.partition("by_design=['")[2].partition("'")[0]
    assert assert_lawful(kind(), X, by_design=[line]).verdict.passed


def test_a_codebook_may_be_excepted() -> None:
    assert assert_lawful(Codes(), X, allow_untested=["code"]).verdict.passed


class Nested(Again):
    act = staticmethod(torch.tanh)

    def part(self, h):
        return h + checkpoint(lambda v: self.act(self.b(F.dropout(v, 0.3))), h, use_reentrant=True)


class Wrong(Nested):
    act = WrongTanh.apply


def test_a_wrong_backward_inside_of_a_checkpoint_has_its_line() -> None:
    assert assert_lawful(Nested(), X).verdict.passed
    with pytest.raises(AssertionError, match=r"the backward of WrongTanh[\s\S]*written at: wrong_backwards.py"):
        assert_lawful(Wrong(), X)


class Table(nn.Module):
    def __init__(self, table: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = table, nn.Linear(8, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.table(ids)
        return self.head((h if h.ndim == 2 else h.mean(1)).relu())


class Fake(Net):
    def middle(self, x):
        w = torch.fake_quantize_per_tensor_affine(self.a.weight, 0.05, 0, -8, 7)
        return self.b(F.linear(x, w, self.a.bias).relu())


def test_gradients_that_torch_itself_means_are_named() -> None:
    found = assert_lawful(Table(nn.Embedding(7, 8, scale_grad_by_freq=True)), IDS)
    assert any("by design of torch, scale_grad_by_freq divides" in n for n in found.notes)
    found = assert_lawful(Fake(), X)
    assert any("fake_quantize" in n and "straight-through" in n for n in found.notes)


def test_the_bag_of_torch_that_divides_by_the_counts_of_other_rows() -> None:
    with pytest.raises(AssertionError, match="EmbeddingBag divides by the counts of other rows"):
        assert_lawful(Table(nn.EmbeddingBag(7, 8, scale_grad_by_freq=True)), IDS)
    assert assert_lawful(Table(nn.EmbeddingBag(7, 8)), IDS).verdict.passed
