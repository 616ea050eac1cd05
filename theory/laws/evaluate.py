"""Values of laws on tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ..arguments import shown, there_are
from ..gauge.families import is_matrix, skew_axes
from ..parts import read

if TYPE_CHECKING:
    from .statement import Part, Statement, Term


def evaluate(law: Statement, params: Mapping[str, torch.Tensor], magnitude: bool = False) -> torch.Tensor:
    """The scalars of a law (see `Law.value`)."""
    return sum(
        (term(law, t, params, magnitude) for t in law.terms[1:]), start=term(law, law.terms[0], params, magnitude)
    )


def pieces(law: Statement, params: Mapping[str, torch.Tensor], magnitude: bool = False) -> torch.Tensor:
    """What every term of a law adds to its scalars, along a new first axis."""
    return torch.stack([term(law, t, params, magnitude) for t in law.terms])


def term(law: Statement, one: Term, params: Mapping[str, torch.Tensor], magnitude: bool) -> torch.Tensor:
    """What one term of a law adds to its scalars."""
    piece = (_quadratic if law.kind == "balance" else _linear)(law, one, params, magnitude)
    return float(abs(one.coefficient) if magnitude else one.coefficient) * piece


def _read(part: Part, params: Mapping[str, torch.Tensor], magnitude: bool) -> torch.Tensor:
    try:
        tensor = read(part.parameter, params)
    except KeyError:
        raise KeyError(
            f"no parameter {part.parameter!r}; {there_are(sorted(params))}; pass the module the law was derived from"
        ) from None
    expect_tensor(part.parameter, tensor)
    if tensor.numel() != math.prod(part.view.shape):
        raise ValueError(
            f"{part.parameter} has shape {tuple(tensor.shape)} but "
            f"the law reads {math.prod(part.view.shape)} numbers of it; "
            "pass the module the law was derived from"
        )
    return part.sizes_of(tensor) if magnitude else part.read(tensor)


def expect_tensor(name: str, value: object) -> None:
    """Checks what stands under the name of a parameter.

    Raises:
        TypeError: if it is no tensor; says what it is.
    """
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} is {shown(value)}; it must be a tensor: make it one by torch.as_tensor")


def _quadratic(law: Statement, term: Term, params: Mapping[str, torch.Tensor], magnitude: bool) -> torch.Tensor:
    x = _read(term.part, params, magnitude).flatten(-2)
    y = x if term.partner is None else _read(term.partner, params, magnitude).flatten(-2)
    if term.off_diagonal:  # 1^T G 1 - tr G of one axis
        whole = x.sum(0).square().sum()
        return whole + x.square().sum() if magnitude else whole - x.square().sum()
    matrix = next((i for i, k in enumerate(law.axis_kinds) if is_matrix(k) or k == "pair"), None)
    if term.partner is not None:
        return x @ y.transpose(-1, -2)
    skew = skew_axes(law.axis_kinds, tuple(x.shape))
    if skew is not None:
        u, v = x.movedim(skew, (0, -2))
        first, second = u @ v.transpose(-1, -2), v @ u.transpose(-1, -2)
        return remove_means(first + second if magnitude else first - second, law, magnitude)
    if matrix is None:
        return remove_means(x.square().sum(-1), law, magnitude)
    kind = law.axis_kinds[matrix]
    x = x.movedim(matrix, -2)
    if kind == "pair":
        out = torch.stack([x.square().sum((-1, -2)), x.sum(-2).square().sum(-1)], -1)
    else:
        if kind == "centred":
            mean = x.mean(-2, keepdim=True)
            x = x + mean if magnitude else x - mean
        out = x @ x.transpose(-1, -2)
        if kind.startswith("sectors:"):
            out = project_symmetric(out, kind.removeprefix("sectors:"), magnitude)
    return remove_means(out, law, magnitude)


def project_symmetric(g: torch.Tensor, sectors: str, magnitude: bool = False) -> torch.Tensor:
    """The part of symmetric matrices that lies in some sectors of `Sym(n)`."""
    if magnitude:
        return g + g.mean((-1, -2), keepdim=True) + g.mean(-1, keepdim=True) + g.mean(-2, keepdim=True)
    n = g.shape[-1]
    eye = torch.eye(n, dtype=g.dtype, device=g.device)
    trace = (g * eye).sum((-1, -2), keepdim=True)
    hollow = 1 - eye
    mean = (g * hollow).sum((-1, -2), keepdim=True) / (n * (n - 1))
    centre = eye - torch.full_like(eye, 1 / n)
    inner = centre @ g @ centre
    parts = {
        "c": trace / n * eye,
        "d": (g - trace / n) * eye,
        "j": mean * hollow,
        "o": g * hollow - mean * hollow,
        "x": inner - (inner * eye).sum((-1, -2), keepdim=True) / (n - 1) * centre,
    }
    return sum((parts[s] for s in sectors), start=torch.zeros_like(g))


def _linear(law: Statement, term: Term, params: Mapping[str, torch.Tensor], magnitude: bool) -> torch.Tensor:
    x = _read(term.part, params, magnitude).sum(-2)
    x = remove_means(x, law, magnitude)
    return x.squeeze(-1) if x.shape[-1] == 1 else x


def remove_means(x: torch.Tensor, law: Statement, magnitude: bool = False) -> torch.Tensor:
    """Projects `traceless` axes on the vectors of sum zero."""
    at = 0
    for kind in law.axis_kinds:
        if is_matrix(kind) or kind in ("pair", "skew"):
            continue
        if kind == "traceless":
            mean = x.mean(at, keepdim=True)
            x = x + mean if magnitude else x - mean
        at += 1
    return x
