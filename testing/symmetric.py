"""An assertion about a symmetry: moving the parameters along it changes no output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from lawful.theory.arguments import Tolerance
from lawful.theory.inputs import inputs_of
from lawful.theory.oracle.lending.lent import lent
from lawful.theory.oracle.modules import as_double, perturbed
from lawful.theory.oracle.outputs import named_outputs
from lawful.theory.refusals import InputsError, refused
from lawful.theory.typed import typed
from lawful.theory.verdict import Verdict

from .assertions import quiet
from .witness.steps import inner, jittered

Tensors = dict[str, torch.Tensor]
Generator = Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]]
STEP = 1e-3  # of the differences, which are of fourth order
TOLERANCE = 1e-6  # relative; the differences are exact to about 1e-10


@runtime_checkable
class Acts(Protocol):
    """A symmetry that tries itself on a network, as those of `lawful.symmetries` do."""

    name: str

    def verify(self, model: object = None, *, seed: int = 0) -> Any:
        """The outcome, with a `verdict`."""


@quiet
@typed(ways={"generator": "pass a function of the parameters, or one of lawful.symmetries"})
def assert_symmetric(
    module: torch.nn.Module,
    generator: Generator | Acts,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    samples: int = 2,
    seed: int = 0,
    tolerance: Tolerance = TOLERANCE,
) -> float:
    """Fails unless a direction in the space of the parameters leaves every output of a module as it is.

    The outputs are differentiated along the direction by central differences in float64, at the module's own parameters
    and near them.  Relative to what each parameter does alone, the sum must vanish: that these effects are there at all
    is the negative control.

    Args:
        module: the module; it is left as it was, and runs in its own mode.
        generator: from the parameters by name to the direction of those that move:
            `lambda p: {"up.weight": p["up.weight"], "down.weight": -p["down.weight"]}`; or a `Symmetry`.
        args: example inputs.
        kwargs: those by keyword.
        samples: number of points.
        seed: of everything random.
        tolerance: largest relative change.

    Returns:
        The largest relative change of an output.

    Raises:
        AssertionError: if an output moves, and if nothing was tested.
        ValueError: for a direction that does not fit the parameters, and for inputs that do not run.
        TypeError: for a generator that gives no dict of tensors.
    """
    __tracebackhide__ = True
    if isinstance(generator, Acts):
        found = generator.verify(inner(module), seed=seed)
        if found.verdict in (Verdict.VACUOUS, Verdict.UNDECIDED):
            raise AssertionError(
                f"{found.verdict}: {generator.name} of {type(module).__name__} was not tested; even a wrong element "
                f"changes its outputs by {found.control:.1e} only"
            )
        if not found.verdict.passed:
            raise AssertionError(f"{generator.name} is no symmetry of {type(module).__name__}: {found}")
        return float(found.error)
    args, kwargs = inputs_of("assert_symmetric", args, kwargs)
    if not args and not kwargs:
        raise InputsError("testing", module)
    plain, random = inner(module), torch.Generator().manual_seed(seed)
    worst, place = 0.0, ""
    seen = False
    with lent(plain, as_double) as own:
        given = {n: as_double(p) for n, p in own.parameters.items()}
        for i in range(samples):
            values = given if i == 0 else {n: perturbed(p, random) for n, p in given.items()}
            inputs = jittered(args, kwargs, random if i else None)
            direction = _direction(generator, values, type(plain).__name__)

            def run(moved: Tensors, own: Any = own, inputs: Any = inputs) -> Tensors:
                own.start(moved)
                torch.manual_seed(seed)
                with torch.no_grad(), refused(f"the forward of {type(plain).__name__} does not run"):
                    return {n: z.double() for n, z in named_outputs(plain, plain(*inputs[0], **inputs[1])).items()}

            whole = _slope(run, values, direction)
            parts = [_slope(run, values, {n: d}) for n, d in direction.items()]
            for name, change in whole.items():
                alone = sum(float(p[name].norm()) for p in parts)
                size = float(change.norm())
                if size != size or alone != alone:
                    raise AssertionError(f"undecided: the output {name} of {type(plain).__name__} is not a number")
                if not alone > 1e-9 * (1 + float(run(values)[name].norm())):
                    continue
                seen = True
                if size / alone > worst:
                    worst, place = size / alone, name
    if worst > tolerance:
        raise AssertionError(
            f"no symmetry of {type(plain).__name__}: along it the output {place} changes by {worst:.1e} of what its "
            f"parameters do alone ({', '.join(direction)})"
        )
    if not seen:
        raise AssertionError(
            f"vacuous: no output of {type(plain).__name__} depends on what the direction moves ({', '.join(direction)})"
        )
    return worst


def _direction(generator: Generator, values: Tensors, name: str) -> Tensors:
    """The direction at a point, checked."""
    found = generator(values)
    if not isinstance(found, Mapping) or not all(isinstance(d, torch.Tensor) for d in found.values()):
        raise TypeError(f"the generator gives a {type(found).__name__}, expected a dict of tensors by parameter name")
    for n, d in found.items():
        if n not in values:
            raise ValueError(f"the generator moves {n!r}, which is no parameter of {name} ({', '.join(values)})")
        if d.shape != values[n].shape:
            raise ValueError(f"the direction of {n} has shape {tuple(d.shape)}, expected {tuple(values[n].shape)}")
    if not any(float(d.norm()) > 0 for d in found.values()):
        raise AssertionError("vacuous: the generator moves nothing")
    return {n: d.detach().double() for n, d in found.items()}


def _slope(run: Callable[[Tensors], Tensors], values: Tensors, direction: Tensors) -> Tensors:
    """The derivative of every output along a direction."""
    size = max(float(d.norm() / values[n].norm().clamp_min(1e-3)) for n, d in direction.items()) or 1.0
    h = STEP / size
    ends = {k: run(values | {n: values[n] + k * h * d for n, d in direction.items()}) for k in (-2, -1, 1, 2)}
    return {n: (8 * (ends[1][n] - ends[-1][n]) - (ends[2][n] - ends[-2][n])) / (12 * h) for n in ends[1]}


__all__ = ["assert_symmetric"]
