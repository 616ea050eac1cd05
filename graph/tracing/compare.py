"""The rebuilt network against the module: outputs and gradients, in float64, on inputs of another batch size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from lawful.theory.double import double
from lawful.theory.modules import as_double, perturbed

from .errors import first_line
from .program import Program
from .running import Forward, Inputs, Tensors, batch_of, draw_inputs, dropout_off, module_forward, program_forward

TOLERANCE = 1e-9
RANDOM = "the module draws random numbers, so no two runs agree; trace it in evaluation mode (module.eval())"
MOST = 1e-5  # the largest error that the rounding of an ill-conditioned module excuses
FLOOR = 1e-4  # a gradient far below all gradients together is compared with those: it may be zero up to rounding


@dataclass(frozen=True)
class Comparison:
    """How far two networks are from each other.

    Attributes:
        outputs: largest relative error of an output.
        gradients: largest relative error of the gradient of a parameter.
        worst: the output or the parameter with the largest error.
        agrees: whether both are rounding.
        summary: a sentence for people, which says where a difference comes from.
    """

    outputs: float
    gradients: float
    worst: str
    agrees: bool
    summary: str


@dataclass(frozen=True)
class _Run:
    """Outputs and gradients at one point."""

    outputs: Tensors
    gradients: Tensors


@dataclass(frozen=True)
class _Gap:
    outputs: float
    gradients: float
    worst_output: str
    worst_gradient: str
    allowed: tuple[float, float] = (TOLERANCE, TOLERANCE)  # of outputs and of gradients

    @property
    def same_outputs(self) -> bool:
        return self.outputs <= self.allowed[0]

    @property
    def same(self) -> bool:
        return self.same_outputs and self.gradients <= self.allowed[1]


def compare(
    program: Program,
    module: torch.nn.Module,
    forward: Forward,
    inputs_of: Callable[[int, torch.Generator], Inputs] | None = None,
    seed: int = 0,
    same_batch: bool = False,
) -> Comparison:
    """Compares a network that was rebuilt from a program with the module it comes from.

    Both run in float64 (see `double`) at perturbed parameters, with a batch of one example more than was traced.
    Dropout and other random layers are off in both: submodules without parameters, buffers and children run in
    evaluation mode, and the functions of dropout give back what they get.  All other submodules keep their modes, so
    batch normalisation in training mode normalises by the batch.  The module itself does not run, a copy of its
    structure does.

    Args:
        program: what was traced.
        module: the module it was traced from.
        forward: the rebuilt network: from parameters by canonical name and inputs in the program's order to outputs.
        inputs_of: inputs of a batch size, in float64; by default like the examples (masks are repeated, integers stay
            below the largest of the example).
        seed: of inputs, parameters and the loss.
        same_batch: whether to keep to the batch that was traced (an opaque operation may have its size built in).
    """
    generator = torch.Generator().manual_seed(seed)
    draw = inputs_of or (lambda batch, g: draw_inputs(program, batch, g))
    values = {n: perturbed(as_double(p), generator) for n, p in module.named_parameters()}
    trained = [n for n, p in module.named_parameters() if p.requires_grad]
    original = module_forward(program, module)
    traced = batch_of(program)

    def run(network: Forward, inputs: Inputs, at: Tensors = values) -> _Run:
        return _run(network, at, trained, [n for n, _ in program.outputs], inputs, seed)

    with dropout_off(), torch.random.fork_rng(devices=[]), torch.enable_grad(), double():
        batch, expected = traced + (not same_batch), None
        failures: list[str] = []
        while expected is None:
            inputs = draw(batch, generator)
            try:
                expected = run(original, inputs)
            except Exception as error:
                failures.append(first_line(error))
                if batch == traced:  # some kernels know no float64
                    return _undone(program, f"not compared: the module does not run in float64: {failures[-1]}")
                batch = traced
        try:
            gap = _gap(expected, run(forward, inputs))
        except Exception as error:
            text = f"the rebuilt network does not run with a batch of {batch}: {first_line(error)}"
            return _undone(program, f"{text}; this is a bug of lawful, please report the module")
        if not gap.same:
            # what the last bit of the parameters changes in the module itself is no difference between the two
            nudged = {n: v * (1 + 1e-15 * torch.randn(v.shape, generator=generator)) for n, v in values.items()}
            noise = _gap(expected, run(original, inputs, nudged))
            allowed = (min(MOST, max(TOLERANCE, 100 * n)) for n in (noise.outputs, noise.gradients))
            gap = replace(gap, allowed=(next(allowed), next(allowed)))
        note = f" (the module takes no other: {failures[0]})" if failures else ""
        if gap.same:
            sizes = f"outputs to {gap.outputs:.0e} and gradients to {gap.gradients:.0e}"
            text = f"agrees with the module: {sizes}, at a batch of {batch}{note}"
        else:
            state = torch.get_rng_state()
            small = draw(traced, generator)
            runs = run(original, small), run(forward, small)
            try:
                exported = run(program_forward(program), small)
            except Exception:  # calls that only run inside of a transform (vmap)
                exported = None
            random = not torch.equal(state, torch.get_rng_state())
            text = RANDOM if random else _blame(gap, *runs, exported)
    worst = gap.worst_gradient if gap.same_outputs and gap.gradients > gap.outputs else gap.worst_output
    return Comparison(gap.outputs, gap.gradients, worst, gap.same, text)


def _undone(program: Program, summary: str) -> Comparison:
    """What is known when one of the two does not run: nothing."""
    return Comparison(float("inf"), float("inf"), program.outputs[0][0], False, summary)


def _blame(gap: _Gap, module: _Run, rebuilt: _Run, program: _Run | None) -> str:
    """Where a difference comes from, by what the three networks do at the batch size that was traced."""
    what = f"gradient of {gap.worst_gradient}" if gap.same_outputs else f"output {gap.worst_output}"
    error = gap.gradients if gap.same_outputs else gap.outputs
    bug = f"the rebuilt network differs: {what} by {error:.0e}"
    if not gap.same_outputs and _gap(module, rebuilt).same_outputs:
        return (
            f"output {gap.worst_output} agrees at the traced shape and not at another batch size: the forward depends "
            "on the shape of its input (a shape-dependent branch); move that branch out of the forward"
        )
    if program is None:
        return f"{bug}; the exported graph does not run by itself, so who is to blame is open: please report the module"
    exported, ours = _gap(module, program), _gap(program, rebuilt)
    if not gap.same_outputs and not exported.same_outputs:
        return (
            f"output {gap.worst_output} differs from that of the exported graph too: the forward has numbers of the "
            "example built in (a value read by item(), a global state); make it a function of its inputs"
        )
    if gap.same_outputs and ours.same and exported.same_outputs:
        return (
            f"outputs agree and the gradient of {gap.worst_gradient} does not ({gap.gradients:.0e}): the module's "
            "backward is not the derivative of its forward (a custom backward); its training is no gradient flow of "
            "this network"
        )
    return f"{bug}, while the exported graph agrees with the module; this is a bug of lawful, please report the module"


def _run(
    network: Forward, values: Tensors, trained: Sequence[str], names: Sequence[str], inputs: Inputs, seed: int
) -> _Run:
    """Outputs of a network, and the gradient of their product with random numbers that the seed decides."""
    leaves = {n: v.clone().requires_grad_(n in trained) for n, v in values.items()}
    outputs = dict(zip(names, network(leaves, inputs), strict=True))
    generator = torch.Generator().manual_seed(seed)
    loss = torch.zeros((), dtype=torch.float64)
    for z in outputs.values():
        loss = loss + (z * torch.randn(z.shape, generator=generator, dtype=torch.float64).to(z.device)).sum().cpu()
    sources = [leaves[n] for n in trained]
    grads: Sequence[torch.Tensor | None] = [None] * len(sources)
    if sources and loss.requires_grad:
        grads = torch.autograd.grad(loss, sources, allow_unused=True)
    found = {n: torch.zeros_like(v) if g is None else g for n, v, g in zip(trained, sources, grads, strict=True)}
    return _Run({n: z.detach() for n, z in outputs.items()}, found)


def _gap(expected: _Run, got: _Run) -> _Gap:
    """The largest relative errors between two runs; infinite for what is not a number."""
    total = float(torch.sqrt(sum(((g * g).sum().cpu() for g in expected.gradients.values()), torch.zeros(()))))
    outputs = {n: _error(z, got.outputs[n], 0.0) for n, z in expected.outputs.items()}
    gradients = {n: _error(g, got.gradients[n], FLOOR * total) for n, g in expected.gradients.items()}
    worst_output = max(outputs, key=lambda n: outputs[n])
    worst_gradient = max(gradients, key=lambda n: gradients[n], default="")
    return _Gap(outputs[worst_output], gradients.get(worst_gradient, 0.0), worst_output, worst_gradient)


def _error(expected: torch.Tensor, got: torch.Tensor, floor: float) -> float:
    """The length of a difference over the larger length of the two; infinite for other shapes and for NaN."""
    if expected.shape != got.shape:
        return float("inf")
    difference = float((expected - got).norm())
    scale = max(float(expected.norm()), float(got.norm()), floor)
    return 0.0 if difference == 0 else difference / scale if difference / scale < float("inf") else float("inf")
