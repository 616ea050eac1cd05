"""The oracle: the number of laws by the Lie algebra of the gradient fields, knowing nothing of blocks.

With the fields `X = grad_theta <w, g(theta, x)>` let `W_0` be their span and `W_{k+1} = W_k + [W_0, W_k]`.  At a
generic point the number of independent laws is `D - dim W_k` once `W_k` stops growing (Frobenius; Marcotte, Gribonval,
Peyré 2023, theorem 3.3).

`count_span` does the same for any vector fields on any state, which is how flows other than the gradient flow are
counted.  Each sample is a bracket of random combinations of fields, so that a level is spanned by a few more samples
than it has dimensions.  Rows are scaled by the size of the two terms that a bracket subtracts, never by their own norm:
a bracket that cancels to rounding stays as small as rounding.  Where signal and rounding lie close to each other, the
same fields and brackets are computed once more in 120 digits (`lawful.theory.oracle.precise`).

This file is long because a count, its doubts and what settles them are one procedure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch.func import grad

from ..arguments import of_right_kinds, plural
from ..verdict import Verdict
from .brackets import NOISE, Field, derivable, level_rows, where_finite
from .precise.counting import count_precisely
from .precise.jets import UnknownError
from .precise.numbers import DIGITS
from .rounding import margin_over_rounding
from .signal import Potential, Sampler, potential_moves

CLEAR_GAP = 1e4
DOUBTFUL_GAP = 1e9  # below it 120 digits decide: rounding has been seen as a gap of 2e8
REPEATED_GAP = 1e8  # from it on another point may decide what is too large for 120 digits (see `graph.questions.count`)
ABOVE = 1e3  # what is kept over measured rounding, so that laws that hold decide with it whatever the gap is
MORE, MOST_MORE = 25_000, 256  # fields, times parameters, that are looked at again where brackets give no more
DROWNED = 1e6  # the largest field beside the one in the middle, where some are no numbers
STEEP = 1e4  # a spectrum that falls by more without any gap has its rounding measured
FALL = 1e6  # a spectrum that falls by more without any gap may hide rounding
FLOOR = 1e-17
SMALLER = "try another seed, or fewer layers and smaller widths"
UNMEASURED = "its rounding cannot be measured in float32, since an operation asks for another type"
NOT_FINITE = (
    "lie algebra, float64; at random parameters and inputs most fields are not finite: look for a quotient by zero (a "
    "mean over no token), a logarithm or a root of what may be negative, and add an epsilon there or clamp it"
)
CROOKED = (
    "lie algebra, float64; the derivative of its gradient is not that of finite differences (something is detached, "
    "has a backward of its own, or torch's second derivative of it is wrong, as of linalg.solve), so that brackets "
    "mean nothing"
)


class ContradictionError(ValueError):
    """Fewer laws are counted than are known: one of the two is wrong, and neither may be believed."""


@dataclass(frozen=True)
@of_right_kinds
class Count:
    """How many independent laws there are.

    Attributes:
        laws: the number, `parameters - ranks[-1]`.
        parameters: trainable scalars `D`; for a flow on a larger state (with velocity, with time) its dimension.
        ranks: dimension of `W_0, W_1, ...` until it stops growing.
        gap: last kept over first dropped singular value (infinity if nothing was dropped).
        verdict: `HOLDS` with a clear gap and growth that stopped, else `UNDECIDED`.  With a gap below `DOUBTFUL_GAP` it
            is that of one point, which another point has to confirm.
        method: how it was counted, and why not in more digits where those were wanted.
        closed: whether growth was seen to stop; False if it was cut short because a known number of laws was reached.
        singular_values: of the last level, largest first; after a count in 120 digits the pivots of its elimination.
        margin: what is kept over rounding, where that was measured and laws that hold bound the count from above.
    """

    laws: int
    parameters: int
    ranks: tuple[int, ...]
    gap: float
    verdict: Verdict
    method: str
    closed: bool = True
    singular_values: torch.Tensor = field(default_factory=lambda: torch.zeros(0), repr=False)
    margin: float | None = None

    @property
    def doubt(self) -> str:
        """Why it is undecided, and what to do; empty if it is not."""
        if self.verdict is not Verdict.UNDECIDED:
            return ""
        why = self.method.partition("; ")[2]
        because = f" ({why})" if why else ""
        if CLEAR_GAP <= self.gap < DOUBTFUL_GAP:
            gap = f"{self.gap:.0e} between the singular values that are kept and dropped"
            return f"its gap of {gap} may be rounding, as it is below {DOUBTFUL_GAP:.0e}{because}; {SMALLER}"
        if self.gap < CLEAR_GAP:
            return f"no gap between its singular values is clear, the widest is {self.gap:.0e}{because}; {SMALLER}"
        return f"{why or f'its brackets go on after {len(self.ranks)} levels'}; {SMALLER}"

    def __str__(self) -> str:
        """The number, of what, and how sure it is."""
        of = f"{plural(self.laws, 'independent law')} of {plural(self.parameters, 'parameter')}"
        why = f"; undecided, because {self.doubt}" if self.doubt else ""
        rank = self.ranks[-1] if self.ranks else 0
        return f"{of}: {self.verdict} ({self.method}, rank {rank}, gap {self.gap:.0e}){why}"

    def _repr_html_(self) -> str:
        from ..laws.pages import facts

        ranks = ", ".join(map(str, self.ranks))
        rows = (("parameters", self.parameters), ("ranks of fields and brackets", ranks), ("verdict", self.verdict))
        return facts((("independent laws", self.laws), *rows, ("method", self.method)), "count by brute force")


def expect_known(found: Count, known: int | None) -> Count:
    """A count that is not below a number of independent laws that are known.

    Raises:
        ContradictionError: if it is, whatever its gap.
    """
    if known is not None and found.laws < known:
        raise ContradictionError(
            f"{plural(found.laws, 'law is', 'laws are')} counted ({found.method}, gap {found.gap:.0e}), but {known} "
            "independent ones are known: one of the two is wrong; verify the laws, and count with exact=True or "
            "another seed"
        )
    return found


def count_fields(
    potential: Potential,
    theta: torch.Tensor,
    sample: Sampler,
    *,
    known: int | None = None,
    verified: int | None = None,
    depth: int = 5,
    chunk: int = 64,
    progress: Callable[[str], None] | None = None,
) -> Count:
    """Counts independent laws of the gradient fields of a scalar function.

    Args:
        potential: `f(theta, data)`, a scalar in float64 that `torch.func` can differentiate again and again.
        theta: a generic point, shape `(D,)`.
        sample: gives a pytree of data with one leading axis of the asked length, fresh at each call.
        known: a number of independent laws that are proved already; reaching it ends the search early.
        verified: a number of independent laws that hold.  It ends nothing; where as many are counted and the gap is
            narrow, they are the upper side of the count, and rounding, which is measured, is the lower one.
        depth: largest number of nested brackets; not closing by then is `UNDECIDED`.  With 0 nothing but the span of
            the fields is asked for.
        chunk: samples that are differentiated at once.
        progress: called with a line before each level.

    Returns:
        The count with its verdict.

    Raises:
        ContradictionError: if fewer laws are counted than are known.
    """
    return count_span(
        grad(potential),
        theta,
        sample,
        moves=lambda: potential_moves(potential, theta, sample),
        known=known,
        verified=verified,
        depth=depth,
        chunk=chunk,
        progress=progress,
    )


def count_span(
    field: Field,
    state: torch.Tensor,
    sample: Sampler,
    *,
    moves: Callable[[], bool],
    known: int | None = None,
    verified: int | None = None,
    depth: int = 5,
    chunk: int = 64,
    progress: Callable[[str], None] | None = None,
) -> Count:
    """Counts functions of a state that no vector field of a family changes.

    Args:
        field: `X(state, data)`, a vector like the state in float64 that `torch.func` can differentiate again and again.
        state: a generic point, shape `(D,)`.
        sample: gives a pytree of data with one leading axis of the asked length, fresh at each call.
        moves: whether the network moves at all, asked once the first samples are drawn.
        known: see `count_fields`.
        verified: see `count_fields`.
        depth: see `count_fields`.
        chunk: see `count_fields`.
        progress: see `count_fields`.

    Returns:
        The count with its verdict.

    Raises:
        ContradictionError: if fewer laws are counted than are known.
    """
    d = state.numel()
    if d == 0:
        return Count(0, 0, (0,), float("inf"), Verdict.VACUOUS, "no trainable parameters")
    rows = torch.zeros(0, d, dtype=state.dtype)
    ranks: list[int] = []
    gap, values, clear = float("inf"), torch.zeros(0), True
    closed, left_out = False, 0
    for level in range(depth + 1):
        if progress:
            progress(f"brackets of depth {level}: {ranks[-1] if ranks else 0} of {d} dimensions so far")
        missing = d - (ranks[-1] if ranks else 0)
        fresh, again = level_rows(field, state, sample, level, missing + missing // 4 + 12, chunk)
        if level == 0 and not moves():
            return Count(d, d, (0,), float("inf"), Verdict.VACUOUS, "no parameter moves the output")
        if not bool(torch.isfinite(fresh).all()):
            return Count(d, d, tuple(ranks), 0.0, Verdict.UNDECIDED, NOT_FINITE, False)
        if level and not derivable(field, state, sample, level):
            return Count(d - ranks[0], d, tuple(ranks), 0.0, Verdict.UNDECIDED, CROOKED, False)
        left_out += again
        if again and not level:
            sample = where_finite(field, state, sample)
        rows = torch.cat([rows, fresh])
        rank, gap, values, clear = _rank(rows)
        ranks.append(rank)
        if level and rank == ranks[-2] < d and (more := min(MOST_MORE, MORE // d)):
            # all that brackets give is there, of the activation patterns that were met: some are rare
            others = level_rows(field, state, sample, 0, more, chunk)[0]
            if bool(torch.isfinite(others).all()):
                rows = torch.cat([rows, others])
                ranks[-1], gap, values, clear = _rank(rows)
        if ranks[-1] == d or (level and ranks[-1] == ranks[-2]):
            closed = True
            break
        if known is not None and ranks[-1] >= d - known:
            break
    reached = not depth or (known is not None and ranks[-1] >= d - known)
    verdict = Verdict.HOLDS if clear and (closed or reached) else Verdict.UNDECIDED
    if ranks[-1] == 0:
        verdict = Verdict.VACUOUS
    method = "lie algebra, float64" + (f" where the fields are numbers: {left_out} samples are not" if left_out else "")
    found = Count(d - ranks[-1], d, tuple(ranks), gap, verdict, method, closed, values)
    fall = float(values[0] / values[-1]) if ranks[-1] == d else 0.0  # rounding may hide where nothing was dropped
    sure = gap >= DOUBTFUL_GAP and not fall > FALL and not (known is not None and found.laws < known)
    sure = sure and not (left_out and _drown(rows))
    if sure and fall > STEEP:
        margin = margin_over_rounding(field, state, sample, ranks)
        sure = margin is None or margin >= ABOVE
    if verdict is not Verdict.VACUOUS and not sure:
        found = _confirmed(found, field, state, sample, known, depth, progress)
    narrow = found.verdict is Verdict.UNDECIDED or found.gap < DOUBTFUL_GAP
    if narrow and found.closed and found.laws == verified:
        found = _between(found, field, state, sample, progress)
    return expect_known(found, known)


def _between(
    found: Count, field: Field, state: torch.Tensor, sample: Sampler, progress: Callable[[str], None] | None
) -> Count:
    """A count whose gap is narrow, between the laws that hold and what stands above measured rounding.

    Rounding that can be measured decides both ways, whatever the gap alone would say.
    """
    if progress:
        progress("the same rows in float32, to measure rounding")
    margin = margin_over_rounding(field, state, sample, found.ranks)
    if margin is None:
        return replace(found, method=f"{found.method}; {UNMEASURED}")
    if margin < ABOVE:
        why = f"what is kept is only {margin:.1g} times the rounding of float64"
        return replace(found, verdict=Verdict.UNDECIDED, method=f"{found.method}; {why}")
    hold = f"{plural(found.laws, 'law')} {'holds' if found.laws == 1 else 'hold'}"
    method = f"{found.method.partition('; ')[0]}; {hold}, and what is kept is {margin:.0e} times measured rounding"
    return replace(found, verdict=Verdict.HOLDS, method=method, margin=margin)


def _confirmed(
    found: Count,
    field: Field,
    state: torch.Tensor,
    sample: Sampler,
    known: int | None,
    depth: int,
    progress: Callable[[str], None] | None,
) -> Count:
    """A count whose gap is narrow, decided in 120 digits where that is possible."""
    try:
        precise = count_precisely(field, state, sample, known=known, depth=depth, progress=progress)
    except UnknownError as error:
        # Rounding has been taken for a narrower gap at two points alike, so that those are not even repeated.
        verdict = found.verdict if REPEATED_GAP <= found.gap < DOUBTFUL_GAP else Verdict.UNDECIDED
        return replace(found, method=f"{found.method}; not in {DIGITS} digits: {error}", verdict=verdict)
    d, rank = found.parameters, precise.ranks[-1]
    reached = not depth or precise.closed or (known is not None and rank >= d - known)
    return Count(
        d - rank,
        d,
        precise.ranks,
        precise.gap,
        Verdict.HOLDS if precise.clear and reached else Verdict.UNDECIDED,
        f"lie algebra, {DIGITS} digits",
        precise.closed,
        torch.tensor(sorted(precise.pivots, reverse=True), dtype=torch.float64),
    )


class Span(NamedTuple):
    """What gradient fields alone do at a point.

    Attributes:
        rank: dimension of their span.
        moving: parameters that some of them moves.
    """

    rank: int
    moving: int


def span_of(potential: Potential, theta: torch.Tensor, sample: Sampler, *, chunk: int = 64) -> Span:
    """What the gradient fields span, in floats: a cheap look at how generic a point is.

    Args:
        potential: see `count_fields`.
        theta: see there.
        sample: see there.
        chunk: see there.
    """
    d = theta.numel()
    if not d:
        return Span(0, 0)
    rows, _ = level_rows(grad(potential), theta, sample, 0, d + d // 4 + 12, chunk)
    return Span(_rank(rows)[0], int((rows != 0).any(0).sum())) if bool(torch.isfinite(rows).all()) else Span(0, 0)


def _drown(rows: torch.Tensor) -> bool:
    """Whether the largest fields are so large that others drown in their rounding: near those that are no numbers."""
    sizes = rows.norm(dim=1)
    return float(sizes.max()) > DROWNED * float(sizes.median())


def _rank(rows: torch.Tensor) -> tuple[int, float, torch.Tensor, bool]:
    """Rank at the widest gap that ends in rounding, that gap, the singular values, and whether it is clear."""
    s = torch.linalg.svdvals(rows)
    if not len(s) or not float(s[0]) > 0:
        return 0, float("inf"), s, True
    relative = (s / s[0]).clamp_min(FLOOR)
    if float(relative[-1]) > NOISE and len(s) == rows.shape[1]:
        return len(s), float("inf"), s, True
    tail = torch.cat([relative, relative.new_tensor([FLOOR])]) if len(s) < rows.shape[1] else relative
    ratios = torch.where(tail[1:] < NOISE, tail[:-1] / tail[1:], torch.zeros_like(tail[1:]))
    rank = int(ratios.argmax()) + 1
    gap = float(ratios.max())
    return rank, gap, s, gap >= CLEAR_GAP
