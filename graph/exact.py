"""Architectures as polynomial programs, for counting modulo a prime."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lawful.blocks import Run, ShapeError
from lawful.theory.exact.counting import count_modulo
from lawful.theory.exact.lowering import Function, Tensors, program_of
from lawful.theory.exact.program import NotPolynomialError, Program, Shape
from lawful.theory.exact.residues import PRIMES
from lawful.theory.losses import LossLike, pair
from lawful.theory.oracle import Count, expect_known
from lawful.theory.verdict import Verdict

from .architecture import Architecture
from .forward import run_forward
from .naming import losses_of

EXAMPLES = 3  # in one random combination of fields


@dataclass(frozen=True)
class Polynomial:
    """The potential of a network as a function that is polynomial in its parameters and its data.

    Attributes:
        function: of parameters, data and choices by name; gives a scalar.
        parameters: examples of the trainable parameters, in the order in which they make up one vector.
        data: examples of the inputs (`x0`, ...) and of what the loss sends to the outputs (`w0`, ...) for a few
            examples, and of the frozen parameters.
        choices: shape and number of options of the free activation patterns, by block, and of tokens.
    """

    function: Function
    parameters: Tensors
    data: Tensors
    choices: dict[str, tuple[Shape, int]]


def potential_of(arch: Architecture, loss: LossLike = "mse") -> Polynomial:
    """The potential whose gradients, for all data, span the gradient fields of a network.

    Args:
        arch: any network.
        loss: the loss of every output.

    Raises:
        NotPolynomialError: for a traced network with operations that were not understood.
        ShapeError: for losses that do not fit the outputs, and for a network without trainable parameters.
    """
    if arch.trace and arch.trace.opaque:
        names = ", ".join(str(op.op) for op in arch.trace.opaque)
        raise NotPolynomialError(f"{names}: not understood by tracing, so no polynomial; count in floats")
    probes, axes = [m.probe for m in losses_of(arch, loss)], arch.output_axes
    generator = torch.Generator().manual_seed(0)
    values = arch.random_parameters(generator)
    trainable = {n: v for n, v in values.items() if n not in arch.frozen}
    if not trainable:
        raise ShapeError("the network has no trainable parameter; unfreeze one to count laws")
    recording = Run(recording=True)
    inputs = arch.random_inputs(EXAMPLES, generator)
    outputs = run_forward(arch, values, inputs, recording)
    data = {f"frozen {n}": v for n, v in values.items() if n in arch.frozen}
    data |= {f"x{i}": x for i, (x, s) in enumerate(zip(inputs, arch.inputs, strict=True)) if not s.tokens}
    data |= {f"w{i}": torch.randn_like(y) for i, y in enumerate(outputs)}
    choices = {f"gates of {n}": found for n, found in recording.recorded.items()}
    choices |= {
        f"x{i}": (tuple(x.shape), arch.inputs[i].features) for i, x in enumerate(inputs) if arch.inputs[i].tokens
    }

    def potential(params: Tensors, numbers: Tensors, chosen: Tensors) -> torch.Tensor:
        fixed = {n: numbers[f"frozen {n}"] for n in values if n in arch.frozen}
        xs = [chosen[f"x{i}"] if s.tokens else numbers[f"x{i}"] for i, s in enumerate(arch.inputs)]
        run = Run(gates={n: chosen[f"gates of {n}"] for n in recording.recorded})
        found = run_forward(arch, params | fixed, xs, run)
        ends = zip(probes, found, axes, strict=True)
        terms = [pair(probe, z, numbers[f"w{i}"], axis) for i, (probe, z, axis) in enumerate(ends)]
        return sum(terms[1:], start=terms[0])

    return Polynomial(potential, trainable, data, choices)


def potential_program(arch: Architecture, loss: LossLike = "mse") -> Program:
    """The potential of a network (see `potential_of`) as a polynomial program.

    Args:
        arch: a network that is polynomial in its parameters once its activation patterns are fixed.
        loss: the loss of every output.

    Raises:
        NotPolynomialError: names the operation that is no polynomial.
        ShapeError: for losses that do not fit the outputs, and for a network without trainable parameters.
    """
    found = potential_of(arch, loss)
    return program_of(found.function, found.parameters, found.data, found.choices)


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
    program = potential_program(arch, loss)
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
    return expect_known(found, known)
