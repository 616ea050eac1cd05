"""Architectures as polynomial programs, for counting modulo a prime."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from lawful.blocks import Run, ShapeError
from lawful.theory.losses import LossLike, pair
from lawful.theory.oracle.counting import Count, expect_known
from lawful.theory.oracle.exact.counting import Fields, Ranks, count_modulo
from lawful.theory.oracle.exact.lowering import Function, Tensors, program_of
from lawful.theory.oracle.exact.patterns import Ask, Real, choices_of, gates_of, realised
from lawful.theory.oracle.exact.program import FROZEN, NotPolynomialError, Program, Shape
from lawful.theory.oracle.exact.residues import PRIMES, minor
from lawful.theory.verdict import Verdict

from ..architecture.architecture import Architecture
from ..architecture.batches import expect_runs
from ..architecture.forward import run_forward
from ..architecture.outputs import losses_of
from ..architecture.patterns import Patterns
from .reach import ELSEWHERE, Reach, doubted

COPIED = (
    "hold the same numbers, which a count of it would take for independent; count the module itself: "
    "lw.count(module, args=...)"
)
EXAMPLES = 3  # in one random combination of fields
REALISED = 128  # activation patterns that fields are drawn with


@dataclass(frozen=True)
class Polynomial:
    """The potential of a network as a function that is polynomial in its parameters and its data.

    Attributes:
        function: of parameters, data (with frozen parameters) and choices by name; gives a scalar.
        parameters: examples of the trainable parameters, in the order in which they make up one vector.
        data: examples of the inputs (`x0`, ...) and of what the loss sends to the outputs (`w0`, ...) for a few
            examples.
        choices: shape and number of options of the activation patterns, by what they compare, and of tokens.
        frozen: the frozen parameters, with `FROZEN` before their names, which are constants of the flow.
        realised: activation patterns that the network has at parameters of their own (see `Patterns`).
        patterns: where these come from.
        observed: the same at parameters of their own, or at given ones only.
    """

    function: Function
    parameters: Tensors
    data: Tensors
    choices: dict[str, tuple[Shape, int]]
    frozen: Tensors
    realised: dict[str, np.ndarray]
    patterns: Patterns
    observed: Callable[[Tensors | None], dict[str, np.ndarray]]

    @property
    def program(self) -> Program:
        """The same as a program.

        Raises:
            NotPolynomialError: names the operation that is no polynomial.
        """
        return program_of(self.function, self.parameters, self.data, self.choices, self.frozen, self.realised)


@dataclass
class _Asking(Run):
    """A pass that asks somebody else for its gates."""

    ask: Ask | None = None

    def gate(self, x: torch.Tensor, options: int = 2, real: Real = None) -> torch.Tensor | None:
        assert self.ask is not None
        key = self.next_gate()
        return self.ask(key, x, options, real).to(x.dtype) if options else None


def potential_of(arch: Architecture, loss: LossLike = "mse", at: Tensors | None = None) -> Polynomial:
    """The potential whose gradients, for all data, span the gradient fields of a network.

    Args:
        arch: any network.
        loss: the loss of every output.
        at: parameters of the point that decides what no input changes (the sign of a weight), where they are given.

    Raises:
        NotPolynomialError: for a traced network with operations that were not understood, and for one that is no
            polynomial before an activation.
        ShapeError: for losses that do not fit the outputs, and for a network without trainable parameters.
    """
    if arch.trace and arch.trace.opaque:
        names = ", ".join(str(op.op) for op in arch.trace.opaque)
        raise NotPolynomialError(f"{names}: not understood by tracing, so no polynomial")
    if arch.trace and arch.trace.copied:
        raise ShapeError(f"inputs of the traced network, {arch.trace.copied[0]}, {COPIED}")
    expect_runs(arch)
    probes, axes = [m.probe for m in losses_of(arch, loss)], arch.output_axes
    generator = torch.Generator().manual_seed(0)
    values = arch.random_parameters(generator) | (at or {})
    trainable = {n: v for n, v in values.items() if n not in arch.frozen}
    frozen = {FROZEN + n: v for n, v in values.items() if n in arch.frozen}
    if not trainable:
        raise ShapeError("the network has no trainable parameter; unfreeze one to count laws")
    patterns = Patterns(arch, values, EXAMPLES, generator)
    inputs = arch.random_inputs(EXAMPLES, generator)
    numbers = {f"x{i}": x for i, (x, s) in enumerate(zip(inputs, arch.inputs, strict=True)) if not s.tokens}
    tokens = {f"x{i}": (tuple(x.shape), arch.inputs[i].features) for i, x in enumerate(inputs) if arch.inputs[i].tokens}

    def run(params: Tensors, drawn: Tensors, chosen: Tensors, how: Run) -> tuple[torch.Tensor, ...]:
        xs = [chosen[f"x{i}"] if s.tokens else drawn[f"x{i}"] for i, s in enumerate(arch.inputs)]
        return run_forward(arch, params | {n: drawn[FROZEN + n] for n in arch.frozen}, xs, how)

    gates = gates_of(lambda p, x, c, ask: run(p, x, c, _Asking(ask=ask)), trainable, numbers, tokens, frozen)
    still = patterns.still

    def potential(params: Tensors, drawn: Tensors, chosen: Tensors) -> torch.Tensor:
        open_ = {n: g.of(chosen[g.name]) for n, g in gates.items()}
        open_ |= {n: torch.where(mask, patterns.point[n], open_[n]) for n, mask in still.items() if n in open_}
        found = run(params, drawn, chosen, Run(gates=open_))
        ends = zip(probes, found, axes, strict=True)
        terms = [pair(probe, z, drawn[f"w{i}"], axis) for i, (probe, z, axis) in enumerate(ends)]
        return sum(terms[1:], start=terms[0])

    data = numbers | {f"w{i}": torch.randn_like(y) for i, y in enumerate(patterns.outputs)}

    def observed(here: Tensors | None = None) -> dict[str, np.ndarray]:
        source = patterns if here is None else Patterns(arch, {**values, **here}, EXAMPLES, generator, here=True)
        return realised(gates, {n: g.numpy() for n, g in source.draw((REALISED,)).items()})

    choices = tokens | choices_of(gates)
    return Polynomial(potential, trainable, data, choices, frozen, observed(), patterns, observed)


def potential_program(arch: Architecture, loss: LossLike = "mse") -> Program:
    """The potential of a network (see `potential_of`) as a polynomial program.

    Args:
        arch: a network that is polynomial in its parameters once its activation patterns are fixed.
        loss: the loss of every output.

    Raises:
        NotPolynomialError: names the operation that is no polynomial.
        ShapeError: for losses that do not fit the outputs, and for a network without trainable parameters.
    """
    return potential_of(arch, loss).program


def potential_programs(arch: Architecture, loss: LossLike = "mse") -> list[Program]:
    """The same, and where parameters alone decide some activations also what it is at other points.

    Raises:
        NotPolynomialError: names the operation that is no polynomial.
        ShapeError: for losses that do not fit the outputs, and for a network without trainable parameters.
    """
    here = potential_of(arch, loss)
    points = enumerate(ELSEWHERE, 1) if here.patterns.still else ()
    there = [potential_of(arch, loss, at=_elsewhere(arch, seed, scale)).program for seed, scale in points]
    return [here.program, *there]


def _elsewhere(arch: Architecture, seed: int, scale: float) -> Tensors:
    """Trainable parameters of another point."""
    values = arch.random_parameters(torch.Generator().manual_seed(seed))
    return {n: scale * v for n, v in values.items() if n not in arch.frozen}


def count_exactly(
    arch: Architecture,
    loss: LossLike = "mse",
    *,
    seed: int = 0,
    known: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Count:
    """Counts the independent laws of a network modulo primes of 31 bits: `count(..., exact=True)`.

    `D - rank` is an upper bound on the number of laws, whatever the prime and the point; the smallest of those at two
    of each is given.  With `known` laws that are proved, reaching them proves that none is missing.

    Args:
        arch: a network that is polynomial in its parameters once its activation patterns are fixed.
        loss: the loss of every output.
        seed: of the points and the data.
        known: a number of independent laws proved already; reaching it ends the search early.
        progress: called with a line before each level of brackets.

    Raises:
        NotPolynomialError: names the operation that is no polynomial.
        ShapeError: for losses that do not fit the outputs, and for a network without trainable parameters.
        ContradictionError: if fewer laws are counted than are known.
    """
    polynomial = potential_of(arch, loss)
    program = polynomial.program
    best = count_modulo(program, PRIMES[0], seed, known, progress=progress)
    if known is None or best.ranks[-1] < program.size - known:
        other = count_modulo(program, PRIMES[1], seed + 1, known, progress=progress)
        best = max(best, other, key=lambda r: r.ranks[-1])
    laws = program.size - best.ranks[-1]
    reached = known is not None and laws <= known
    verdict = Verdict.HOLDS if best.closed or reached else Verdict.UNDECIDED
    if not best.ranks[-1]:
        verdict = Verdict.VACUOUS
    found = Count(laws, program.size, best.ranks, math.inf, verdict, f"lie algebra modulo {best.prime}", best.closed)
    if verdict is Verdict.HOLDS and not reached:
        found = doubted(found, exact_ranks(arch, loss, polynomial, program, best, seed))
    return expect_known(found, known)


def exact_ranks(
    arch: Architecture, loss: LossLike, polynomial: Polynomial, program: Program, best: Ranks, seed: int
) -> Reach:
    """What fields span modulo a prime with the patterns of single points (see `doubted`)."""

    def fields(written: Program) -> int:
        rows = Fields(written, best.prime, seed).brackets(0, best.samples[0])
        return len(minor(rows, best.prime)[1])

    def at_point(values: Tensors) -> Program:
        if not polynomial.patterns.still:
            return replace(program, realised=polynomial.observed(values))
        own = potential_of(arch, loss, at=values)
        return replace(own.program, realised=own.observed(values))

    return Reach(
        polynomial.patterns,
        spanned=lambda values: fields(at_point(values)),
        laws=lambda values: program.size - count_modulo(at_point(values), best.prime, seed).ranks[-1],
        elsewhere=lambda seed, scale: fields(potential_of(arch, loss, at=_elsewhere(arch, seed, scale)).program),
    )
