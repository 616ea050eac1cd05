"""Products of laws, read in pieces: the same numbers as the law itself gives, whatever the layout in memory."""

import pytest
import torch

from lawful.dynamics import grams

LAYOUTS = {
    "rows": lambda g: torch.randn(3, 70, 1, 50, generator=g),
    "columns": lambda g: torch.randn(3, 50, 70, generator=g).transpose(1, 2)[:, :, None],
    "kernels": lambda g: torch.randn(40, 30, 9, generator=g).transpose(0, 1)[None],
    "one row": lambda g: torch.randn(1, 1, 6, 900, generator=g),
    "one number each": lambda g: torch.randn(3, 70, 1, 1, generator=g),
}
STEP = {0: 0.3, 1: -0.5, 2: 2.0}


@pytest.mark.parametrize("piece", [64, 2**17])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LAYOUTS)
def test_pieces_add_up(monkeypatch: pytest.MonkeyPatch, name: str, dtype: torch.dtype, piece: int) -> None:
    monkeypatch.setattr(grams, "PIECE", piece)
    monkeypatch.setattr(grams, "LARGE", 100)
    g = torch.Generator().manual_seed(0)
    rows = [LAYOUTS[name](g).to(dtype) for _ in range(3)]
    exact = [r.double().flatten(-2) for r in rows]
    moved = sum(w * exact[i] for i, w in STEP.items())
    tolerance = {"rtol": 1e-12 if dtype == torch.float64 else 1e-5, "atol": 1e-12 if dtype == torch.float64 else 2e-3}

    def close(got: torch.Tensor, wanted: list[torch.Tensor]) -> None:
        torch.testing.assert_close(got, torch.stack([w.reshape(-1) for w in wanted]), **tolerance)

    slopes, steps, squares = grams.diagonal(rows, STEP)
    close(slopes, [2 * (exact[0] * u).sum(-1) for u in exact])
    close(steps, [2 * (moved * u).sum(-1) for u in exact])
    close(squares, [(u * u).sum(-1) for u in exact])
    monkeypatch.setattr(grams, "BLOCKS", piece)
    halves = [[(0.25, r), (0.75, r)] for r in rows]
    slopes, steps, sizes = grams.full([(1.5, [[(1.0, r)] for r in rows]), (-0.5, halves)], STEP, 1)
    close(slopes, [exact[0] @ u.mT + u @ exact[0].mT for u in exact])
    close(steps, [moved @ u.mT + u @ moved.mT for u in exact])
    norms = [u.norm(dim=-1) for u in exact]
    close(sizes / 2, [n[..., None] * n[..., None, :] for n in norms])


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sums_along_lines(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, columns: bool) -> None:
    monkeypatch.setattr(grams, "PIECE", 64)
    monkeypatch.setattr(grams, "LARGE", 100)
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(40, 30, generator=g).to(dtype) for _ in range(2))
    plain, absolute = grams.lines([[(1.0, x)], [(0.5, x), (-2.0, y), (1.0, x)], []], columns)
    vectors = [x.double(), 1.5 * x.double() - 2 * y.double(), torch.zeros(40, 30).double()]
    rtol = 1e-12 if dtype == torch.float64 else 1e-5
    for found, wanted in ((plain, vectors), (absolute, [v.abs() for v in vectors])):
        sums = torch.stack([v.sum(0 if columns else 1) for v in wanted])
        torch.testing.assert_close(found, sums, rtol=rtol, atol=1e-4)
