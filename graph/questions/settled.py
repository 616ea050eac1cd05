"""A list of laws, held against a small network itself: whether any is missing, whatever the rules say about it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from lawful.theory.arguments import plural
from lawful.theory.derive.lawset import LawSet
from lawful.theory.laws.notes import Fact
from lawful.theory.oracle.counting import Count, span_of
from lawful.theory.oracle.filling import UNDECIDED, Filling, filling
from lawful.theory.oracle.lending.randomness import random_states
from lawful.theory.oracle.lending.storage import own_parameters
from lawful.theory.oracle.lending.transforms import no_transform_left
from lawful.theory.parts import read
from lawful.theory.threads import few_threads
from lawful.theory.verdict import Verdict

from ..architecture.architecture import Architecture
from ..architecture.footprint import longest
from .fields import architecture_fields
from .reach import doubted, reach_of

MOST = 300  # trainable scalars of a network that is small enough
POINTS = 2  # of a network: at one it may be flat
LONGEST = 128  # positions of one
OPEN = "whether a law is missing is not decided"
FILLED = Filling(0, decided=True)


def settled(
    laws: LawSet,
    arch: Architecture,
    module: object,
    losses: Sequence[Any],
    notes: Iterable[str],
) -> LawSet:
    """The laws of a network, with what the network itself says about those that are missing.

    A note names a place behind which laws may be missing, and a place that no rule knows has none.  Where the
    gradients of the network and their brackets move it in every direction that its laws leave, none is missing:
    those that hold exactly at its own epsilons, and all of them where every epsilon is read as 0.  Where they end
    before that, a note says how many are.

    Args:
        laws: of the network.
        arch: the network.
        module: the user's module, or what else was asked about.
        losses: of its outputs.
        notes: those that name such places.  Others stay: what was not compared, what other calls do.

    Returns:
        The laws, with a fact in place of these notes, and those that name an operation without a rule as facts, where
        nothing is missing; with a note more where something is; with the same notes where that cannot be told, and for
        larger networks, which `count` and `check` count.  It is told when the notes are first read, since it takes as
        long as a derivation, of the network as it is now.
    """
    other = {*(arch.trace.limits if arch.trace else ()), *(m.limit for m in losses)}
    places = {n for n in notes if not isinstance(n, Fact)} - other
    asked = arch.trace is not None or (places and places.intersection(laws.gaps))
    if not asked or not _is_small(arch) or not _is_whole(arch, module):
        return laws
    try:
        frozen = _frozen(arch, module)
    except KeyError:  # frozen numbers that may be any
        return laws
    return laws.noted(lambda: _told(laws, arch, losses, frozen, places))


def _told(
    laws: LawSet, arch: Architecture, losses: Sequence[Any], frozen: Mapping[str, torch.Tensor], places: set[str]
) -> tuple[str, ...]:
    """The notes of laws, by what a network says itself about those that are missing."""
    try:
        with few_threads(laws.parameters), no_transform_left(), random_states():
            wanted = {laws.independent: arch.with_epsilon(0.0), laws.exact_independent: arch}
            asked = {known: _left(each, losses, frozen, known) for known, each in wanted.items()}
    except Exception:  # calls without second derivatives, or that vmap does not take
        return laws.notes
    found = {known: each for known, each in asked.items() if isinstance(each, Filling)}
    doubts = [each for each in asked.values() if isinstance(each, str)]
    if doubts:
        said = f"{OPEN}: {doubts[0]}"
        return laws.notes if arch.trace is None else (*laws.notes, said)
    if not all(each.decided for each in found.values()):
        return laws.notes
    if any(each.left for each in found.values()):
        return laws.notes if arch.trace is None else (*laws.notes, _counted(laws, found))
    moved = plural(laws.parameters - laws.independent, "direction", "directions")
    said = Fact(
        f"no law of this network is missing: its gradients and their brackets move it in {moved}, which is all that "
        f"{plural(laws.independent, 'law leaves', 'laws leave')} of {plural(laws.parameters, 'parameter')}"
    )
    unruled = {str(op) for op in arch.trace.opaque} if arch.trace else set()
    notes = (*laws.notes, said) if places.intersection(laws.gaps) else laws.notes
    return tuple(Fact(n) if n in unruled else n for n in notes if n in unruled or n not in places)


def _counted(laws: LawSet, found: Mapping[int, Filling]) -> str:
    """The note that a network has more laws than are listed."""
    known = laws.exact_independent if found[laws.exact_independent].left else laws.independent
    left = found[known].left
    which = "" if known == laws.exact_independent else " where every epsilon is read as 0"
    said = (
        f"{plural(known + left, 'law is', 'laws are')} counted{which}, and {known} of them "
        f"{'is' if known == 1 else 'are'} listed"
    )
    return said if laws.gaps else f"{said}: no rule says where the other {left} may be"


def _left(arch: Architecture, losses: Sequence[Any], frozen: Mapping[str, torch.Tensor], known: int) -> Filling | str:
    """How many laws a network has beside those that are known: 0 where some point shows it, more where all agree.

    Fields with the activation patterns of all points span what a single point may never have (see `reach`): why that
    leaves it open.
    """
    generator = torch.Generator().manual_seed(0)
    seen: set[Filling] = set()
    for _ in range(POINTS):
        potential, theta, sample = architecture_fields(arch, losses, generator, frozen=frozen)
        seen.add(filling(potential, theta, sample, known))
        if FILLED in seen:
            break
    reach = reach_of(arch, losses, generator, frozen)
    if FILLED in seen or (len(seen) == 1 and all(each.decided for each in seen)):
        told = FILLED if FILLED in seen else seen.pop()
        if told.left and not reach.patterns.few:
            return told
        size, laws = theta.numel(), known + told.left
        ranks = (span_of(potential, theta, sample).rank, size - laws)
        found = doubted(Count(laws, size, ranks, math.inf, Verdict.HOLDS, ""), reach, quick=True)
        return told if found.verdict is Verdict.HOLDS else found.method.removeprefix("; ")
    return (
        "parameters alone decide some activations, and other ones leave other laws"
        if reach.patterns.still
        else UNDECIDED
    )


def _frozen(arch: Architecture, module: object) -> dict[str, torch.Tensor]:
    """The frozen numbers of a module, by the names of its trace.

    Raises:
        KeyError: for an architecture with some, which may have any values, and other values let other laws through.
    """
    known: dict[str, torch.Tensor] = {}
    if isinstance(module, torch.nn.Module) and arch.trace is not None:
        known = dict(own_parameters(module))
    values = {n: read(n, known) for n, p in arch.parameters.items() if p.frozen}
    return {n: v.detach().to(torch.float64) for n, v in values.items()}


def _is_small(arch: Architecture) -> bool:
    """Whether brackets of a network take no longer than its derivation, or little."""
    return _trained(arch) <= MOST and longest(arch) <= LONGEST


def _is_whole(arch: Architecture, module: object) -> bool:
    """Whether an architecture is all of what was asked about: every entry of the module, at every call."""
    trace = arch.trace
    if trace is None or not isinstance(module, torch.nn.Module):
        return trace is None
    compared = trace.comparison is not None and trace.comparison.agrees and not trace.comparison.moving
    alone = not trace.branches and not trace.copied and not trace.state  # statistics are drawn, as other numbers are
    return compared and alone and _trained(arch) == _entries(module)


def _trained(arch: Architecture) -> int:
    return sum(p.size for p in arch.parameters.values() if not p.frozen)


def _entries(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in own_parameters(module).values() if p.requires_grad)


__all__ = ["settled"]
