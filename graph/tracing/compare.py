"""The rebuilt network against the module: outputs and gradients, in float64, on inputs of another batch size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from lawful.theory.oracle.double import double
from lawful.theory.oracle.lending.holders import LendingError
from lawful.theory.oracle.lending.lent import lent
from lawful.theory.oracle.modules import WHOLE, Point, as_double, norm, perturbed

from ..architecture.origin import Comparison
from .errors import first_line
from .gaps import ROUNDING, TOLERANCE, Gap, Probes, Run, gap_of, has_nan, own_run, product, run_at, settled
from .observe import observe
from .program import Program
from .running import (
    Forward,
    Inputs,
    ModuleRun,
    Tensors,
    Unprepared,
    batch_of,
    draw_inputs,
    dropout_off,
    first_not_a_number,
    program_forward,
)
from .slopes import is_derivative

RANDOM = "the module draws random numbers, so no two runs agree; trace it in evaluation mode (module.eval())"
BUG = "this is a bug of lawful, please report the module"
DRAWS = 5  # of parameters and inputs, while something is not a number
ROUNDED = 1e-6  # how far a recorded run may be from the module: its numbers were read out of tensors and rounded
MOST = 1e-5  # the largest error that the rounding of an ill-conditioned module excuses


def compare(
    program: Program,
    module: torch.nn.Module,
    forward: Forward,
    inputs_of: Callable[[int, torch.Generator], Inputs] | None = None,
    seed: int = 0,
    same_batch: bool = False,
    probes: Probes | None = None,
) -> Comparison:
    """Compares a network that was rebuilt from a program with the module it comes from.

    Both run in float64 (see `double`) at perturbed parameters, with a batch of one example more than was traced.
    Dropout and other random layers are off in both: submodules without parameters, buffers and children run in
    evaluation mode, and the functions of dropout give back what they get.  All other submodules keep their modes, so
    batch normalisation in training mode normalises by the batch.  What runs is the module itself, forward and
    `backward()`, with its hooks and closures; it is given back as it was (see `lent`).

    Args:
        program: what was traced.
        module: the module it was traced from.
        forward: the rebuilt network: from parameters by canonical name and inputs in the program's order to outputs.
        inputs_of: inputs of a batch size, in float64; by default like the examples (masks are repeated, integers stay
            below the largest of the example).
        seed: of inputs, parameters and the loss.
        same_batch: whether to keep to the batch that was traced (an opaque operation may have its size built in).
        probes: what a loss can send to every output; by default everything.
    """
    same_batch |= program.recorded
    try:
        for nearness in (1.0, 1e-3, 0.0) if program.recorded else (1.0,):  # far away it may take another branch
            with dropout_off(), lent(module, as_double) as own, double():
                run = ModuleRun(program, own)
                found = _compared(program, run, forward, inputs_of, seed, same_batch, probes, nearness)
            if found.agrees or found.fault:
                return found
        return _close(found, program)
    except LendingError as error:
        return _undone(program, str(error))


def _compared(
    program: Program,
    module: ModuleRun,
    forward: Forward,
    inputs_of: Callable[[int, torch.Generator], Inputs] | None,
    seed: int,
    same_batch: bool,
    probes: Probes | None,
    nearness: float = 1.0,
) -> Comparison:
    """The comparison, with the module lent in float64; the nearness is that of the parameters to the module's own."""
    generator = torch.Generator().manual_seed(seed)
    ways = list(WHOLE if any(not i.example.is_floating_point() for i in program.inputs) else WHOLE[:1])
    draw = inputs_of or (lambda batch, g: draw_inputs(program, batch, g, ways[0]))
    values: Tensors = {}
    trained = [n for n, p in module.own.parameters.items() if p.requires_grad]
    traced = batch_of(program)

    def run(network: Forward, inputs: Inputs) -> Run:
        return run_at(network, values, trained, [n for n, _ in program.outputs], inputs, seed, probes)

    def original(inputs: Inputs, at: Tensors | None = None, free: bool = False) -> Run:
        module.own.start(values if at is None else at)
        return own_run(module, trained, inputs, seed, None if free else probes)

    batch, draws, expected = traced + (not same_batch), 0, None
    failures: list[str] = []
    while expected is None:
        values = {n: _near(p.detach(), nearness, generator) for n, p in module.own.parameters.items()}
        inputs = draw(batch, generator)
        draws += 1
        try:
            expected = original(inputs)
            if draws < DRAWS and has_nan(expected):  # a quotient of two zeros, the root of a unit that is off
                expected = None
        except Exception as error:
            failures.append(first_line(error))
            if len(ways) > 1:  # numbers that are no row of some table, or no sorted offsets
                ways.pop(0)
                failures.pop()
                continue
            if batch == traced:  # some kernels know no float64
                return _undone(program, f"not compared: the module does not run in float64: {failures[-1]}")
            batch = traced
    found = observe(module, lambda: own_run(module, trained, inputs, seed, probes), expected, values)
    if found.refusal:
        return _undone(program, found.refusal)
    limits = found.limits
    if has_nan(expected):
        where = first_not_a_number(program, values, draw_inputs(program, traced, generator, ways[0]))
        limits = (
            *limits,
            f"the module gives what is not a number (NaN) wherever it was run{where and f', first in {where}'}: give "
            "examples on which it is a number (a mask that leaves something in every row), or add an epsilon to what "
            "it divides by; little of it was compared",
        )
    try:
        got = run(forward, inputs)
    except Unprepared as error:
        if batch == traced:
            return replace(_undone(program, f"the rebuilt network gets no inputs: {error}; {BUG}"), fault=True)
        again = _compared(program, module, forward, inputs_of, seed, True, probes)
        return replace(again, summary=f"{again.summary} (what is made of the inputs alone takes no other)")
    except Exception as error:
        text = f"the rebuilt network does not run with a batch of {batch}: {first_line(error)}"
        return replace(_undone(program, f"{text}; {BUG}"), fault=True)
    gap = gap_of(expected, got)
    if not gap.same or (trained and 0 < norm(expected.gradients) < ROUNDING):
        # what the last bit of the parameters changes in the module itself is no difference between the two
        nudged = {n: v * (1 + 1e-15 * torch.randn(v.shape, generator=generator)) for n, v in values.items()}
        shaken = original(inputs, nudged)
        scale = float(norm(original(inputs, free=True).gradients)) if trained else 0.0
        expected, got = settled(expected, shaken, got, scale)
        gap, noise = gap_of(expected, got), gap_of(expected, shaken)
        allowed = (min(MOST, max(TOLERANCE, 100 * n)) for n in (noise.outputs, noise.gradients))
        gap = replace(gap, allowed=(next(allowed), next(allowed)))
    fault = False
    note = f" (the module takes no other: {failures[0]})" if failures else ""
    if gap.same:
        sizes = f"outputs to {gap.outputs:.0e} and gradients to {gap.gradients:.0e}"
        text = f"agrees with the module: {sizes}, at a batch of {batch}{note}"
    else:
        state = torch.get_rng_state()
        small = draw(traced, generator)
        runs = (
            original(small),
            _tried(lambda: run(forward, small)),
            _tried(lambda: run(program_forward(program), small)),
        )
        random = not program.draws and not torch.equal(state, torch.get_rng_state())
        text, fault = (RANDOM, False) if random else _blame(gap, *runs)
        if not random and not fault and gap.same_outputs and runs[2] is not None:

            def at(moved: Tensors) -> float:
                return float(product(original(small, moved).outputs.values(), seed, probes))

            text, fault = _whose(gap, is_derivative(runs[0].gradients, runs[2].gradients, values, at), text)
    worst = gap.worst_gradient if gap.same_outputs and gap.gradients > gap.outputs else gap.worst_output
    point = None
    if gap.same:
        still = {n: torch.zeros_like(v) for n, v in values.items() if n not in trained}
        point = Point(values, expected.gradients | still, 0.0)
    blamed = not gap.same and gap.same_outputs and not fault
    return Comparison(
        gap.outputs,
        gap.gradients,
        worst,
        gap.same,
        text,
        found.notes,
        limits,
        fault,
        blamed,
        point,
        found.moving,
    )


def _whose(gap: Gap, derivative: bool | None, accusation: str) -> tuple[str, bool]:
    """As `_blame`, for gradients that differ from those of the exported graph: only what is seen is accused."""
    if derivative is False:
        return accusation, False
    what = f"outputs agree and the gradient of {gap.worst_gradient} does not ({gap.gradients:.0e})"
    if derivative and gap.gradients > ROUNDED:  # by less: numbers that it keeps are rounded, as a cache of positions is
        return f"{what}, while the module's backward is the derivative of its forward; {BUG}", True
    text = (
        f"{what}, by too little to say whose is the derivative of the forward: a part that computes in float32, or a "
        "backward of its own; let all of it compute in float64, or trace the submodules around it"
    )
    return text, False


def _close(found: Comparison, program: Program) -> Comparison:
    """One that differs by little: numbers that were read out of tensors, or made narrow, were rounded on their way."""
    if not max(found.outputs, found.gradients) <= ROUNDED:
        return found
    text = f"agrees with the module to {max(found.outputs, found.gradients):.0e} only"
    if program.recorded:
        text = f"{text}, on the example"
        return replace(found, agrees=True, summary=text, limits=(*found.limits, f"the recorded run {text}"))
    text = f"{text}: a number of its forward is rounded to a narrow type on its way"
    return replace(found, agrees=True, summary=text, limits=(*found.limits, f"the rebuilt network {text}"))


def _near(parameter: torch.Tensor, nearness: float, generator: torch.Generator) -> torch.Tensor:
    """A point near a parameter, by so much of what `perturbed` does."""
    moved = perturbed(parameter, generator)
    return moved if nearness == 1 else parameter + nearness * (moved - parameter)


def _tried(network: Callable[[], Run]) -> Run | None:
    """A run, None if it fails: blocks that know another batch only, calls that run inside of a transform only."""
    try:
        return network()
    except Exception:
        return None


def _undone(program: Program, summary: str) -> Comparison:
    """What is known when one of the two does not run: nothing."""
    return Comparison(float("inf"), float("inf"), program.outputs[0][0], False, summary)


def _blame(gap: Gap, module: Run, rebuilt: Run | None, program: Run | None) -> tuple[str, bool]:
    """Where a difference comes from, by what the three networks do at the batch size that was traced.

    Returns:
        A sentence, and whether it is a mistake of tracing.
    """
    what = f"gradient of {gap.worst_gradient}" if gap.same_outputs else f"output {gap.worst_output}"
    error = gap.gradients if gap.same_outputs else gap.outputs
    bug = f"the rebuilt network differs: {what} by {error:.0e}"
    if not gap.same_outputs and rebuilt is not None and gap_of(module, rebuilt).same_outputs:
        text = (
            f"output {gap.worst_output} agrees at the traced shape and not at another batch size: the forward depends "
            "on the shape of its input (a shape-dependent branch); move that branch out of the forward"
        )
        return text, False
    if program is None:
        text = "the exported graph does not run by itself, so who is to blame is open: please report the module"
        return f"{bug}; {text}", True
    exported = gap_of(module, program)
    if not gap.same_outputs and not exported.same_outputs:
        text = (
            f"output {gap.worst_output} differs from that of the exported graph too: the forward has numbers of the "
            "example built in (a value read by item(), a global state, a weight that was read before); make it a "
            "function of its inputs"
        )
        return text, False
    ours = rebuilt is not None and gap_of(program, rebuilt).same
    if gap.same_outputs and ours and exported.same_outputs:
        text = (
            f"outputs agree and the gradient of {gap.worst_gradient} does not ({gap.gradients:.0e}): the module's "
            "backward is not the derivative of its forward (a custom backward, a hook, checkpoint with "
            "use_reentrant=True); its training is no gradient flow of this network"
        )
        return text, False
    return f"{bug}, while the exported graph agrees with the module; {BUG}", True
