"""Loss gradients of a torch module in float64; afterwards the module is what it was.

This file is long because every way to run a module ends in the same restoring of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ..inputs import object_items
from ..losses import Loss, LossError, LossLike, of_own, read, total
from ..refusals import InputsError, refused
from .double import double
from .lending.complexes import real_parts
from .lending.lent import lent
from .outputs import named_outputs, own_loss

Tensors = dict[str, torch.Tensor]
Inputs = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class ClassAxes:
    """Where the classes of every output are, as a trace knows it, and as it is asked for.

    Attributes:
        known: the axis of the classes in every output of the module, None where they fill no axis of their own.
        asked: one axis, or one for every output; None for what is known, and the last one where nothing is.
    """

    known: tuple[int | None, ...]
    asked: int | Sequence[int] | None = None

    def among(self, outputs: Tensors, losses: Sequence[Loss]) -> tuple[int, ...]:
        """One axis for every output.

        Raises:
            LossError: where an axis is asked for that is not the known one, and the loss can tell the two apart.
        """
        known = self.known if len(self.known) == len(outputs) else (None,) * len(outputs)
        if self.asked is None:
            # A forward that squeezes a batch of one has no axis of examples there, and the classes on the last one.
            sizes = [z.ndim for z in outputs.values()]
            return tuple(-1 if k is None or k >= n else k for k, n in zip(known, sizes, strict=True))
        asked = each_axis(self.asked, len(outputs))
        for k, a, loss, (name, z) in zip(known, asked, losses, outputs.items(), strict=True):
            if k is not None and loss.span != "all" and (a - k) % max(z.ndim, 1):
                raise LossError(
                    f"the classes of {name} are on axis {k} of its shape {tuple(z.shape)}, as the trace has it and the "
                    f"laws are derived, but axis={a} is asked for; leave out axis=, or move the classes in the forward"
                )
        return asked


Axes = int | Sequence[int] | ClassAxes


def each_axis(axis: int | Sequence[int], outputs: int) -> tuple[int, ...]:
    """The same axis for every output, or one for each.

    Raises:
        LossError: for another number of axes than there are outputs.
    """
    axes = (axis,) * outputs if isinstance(axis, int) else tuple(axis)
    if len(axes) != outputs:
        raise LossError(f"{len(axes)} axes are given for {outputs} outputs; give one axis for each output")
    return axes


@dataclass(frozen=True)
class Point:
    """Parameters, a loss gradient there (zero for frozen parameters) and the loss, all in float64."""

    parameters: Tensors
    gradient: Tensors
    loss: float

    @cached_property
    def slope(self) -> torch.Tensor:
        """The length of the gradient; every law asks for it."""
        return norm(self.gradient)

    @cached_property
    def moves(self) -> bool:
        """Whether the gradient is more than the rounding of the loss (False never for what is not a number)."""
        return not float(self.slope) * float(norm(self.parameters)) <= 1e-12 * abs(self.loss)


def norm(tensors: Tensors) -> torch.Tensor:
    """The length of all tensors together."""
    return torch.sqrt(sum(((t * t).sum() for t in tensors.values()), start=torch.zeros((), dtype=torch.float64)))


def module_points(
    module: torch.nn.Module,
    loss: LossLike,
    args: Sequence[Any],
    samples: int,
    seed: int,
    axis: Axes = -1,
    training: bool | None = None,
    kwargs: Mapping[str, Any] | None = None,
    redraw: bool = True,
    before: int = 0,
) -> list[Point]:
    """Gradients of random losses at a module's own parameters and, every other time, at perturbed ones.

    What runs is the module itself, so that its hooks, its closures and a forward that was patched take part; afterwards
    its parameters, modes, buffers, gradients, attributes and all random states are what they were (see `lent`).

    Args:
        module: any module whose forward gives tensors, in any nesting (see `named_outputs`).
        loss: the loss of its output, or one for every output (see `losses.read`).
        args: example inputs; tensors of numbers are drawn anew with the same shape, everything else is passed on.
        samples: number of points.
        seed: of data, targets, perturbations and of what the module itself draws (dropout).
        axis: the axis of the features (the classes) in the output, or one for every output.
        training: put every submodule in training mode (True) or evaluation mode (False); None keeps their modes.
        kwargs: example keyword inputs, drawn anew likewise; those with `mask` in their name are passed on.
        redraw: whether inputs are drawn anew; if not, they are data, passed on as they are.
        before: how often the module runs, on the same inputs, before the call whose gradient is taken.

    What runs is computed in float64 even where the module casts to narrower numbers (see `double`).

    Raises:
        ValueError: without example inputs (`InputsError`), for losses that do not fit the outputs, and for a module
            whose forward or backward does not run (`ModuleError`).
        TypeError: for a module that gives no tensor of real numbers, or that cannot be given back (see
            `lent`).
    """
    if not args and not kwargs:
        raise InputsError("verifying on", module)
    generator = torch.Generator().manual_seed(seed)
    points = []
    with real_parts(module), lent(module, as_double) as own, double():
        if training is not None:
            module.train(training)
        trained = {n: p.requires_grad for n, p in own.parameters.items()}
        given = {n: as_double(p) for n, p in own.parameters.items()}
        torch.manual_seed(seed)

        def call(values: Tensors, whole: str) -> Any:
            drawn = fresh_inputs(args, kwargs or {}, generator, whole=whole)
            positional, named = drawn if redraw else as_given(args, kwargs or {})
            own.start(values)
            for _ in range(before):
                with torch.no_grad():
                    module(*positional, **named)
            return module(*positional, **named)

        ways = list(WHOLE if redraw and has_whole(args, kwargs) else WHOLE[:1])
        for i in range(samples):
            values = {n: perturbed(p, generator) for n, p in given.items()} if i % 2 else given
            while True:
                try:
                    found = call(values, ways[0])
                    break
                except Exception as error:
                    if len(ways) > 1 and ways.pop(0):  # numbers that are no row of some table, or no sorted offsets
                        continue
                    with refused(f"{type(module).__name__} does not run on random inputs like the examples"):
                        raise error
            value = random_loss(named_outputs(module, found), loss, generator, axis)
            if value.requires_grad:  # not where everything is frozen or detached
                with refused(f"the backward of {type(module).__name__} does not run"):
                    value.backward()
            gradient = {n: g if trained[n] else torch.zeros_like(g) for n, g in own.gradients().items()}
            points.append(Point(values, gradient, float(value.detach())))
    return points


def has_whole(args: Any, kwargs: Any) -> bool:
    """Whether there are integers among some inputs, which a module may take from some range only."""
    found = [*tensors_in(list(args or ())).values(), *tensors_in(dict(kwargs or {})).values()]
    return any(map(is_whole, found))


def is_whole(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds integers."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def as_double(tensor: torch.Tensor) -> torch.Tensor:
    """A copy without history, in float64 if it holds real numbers."""
    out = tensor.detach()
    return out.to(torch.float64, copy=True) if out.is_floating_point() else out.clone()


def perturbed(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A generic point near a tensor: weights that start at zero or one hide laws and their failures."""
    size = float(tensor.square().mean().sqrt()) if tensor.numel() else 0.0
    noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype).to(tensor.device)
    return noise.mul_(0.5 * (size or 0.2)).add_(tensor)


def as_given(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Inputs:
    """Inputs as they are, real numbers in float64."""
    double = {k: as_double(v) if isinstance(v, torch.Tensor) else v for k, v in kwargs.items()}
    return tuple(as_double(a) if isinstance(a, torch.Tensor) else a for a in args), double


# How whole numbers are drawn: up to the largest one of the example; in every column up to its own largest one, as some
# columns may be of other tables than others; or not at all, as sorted ones and sums of others are.
WHOLE = ("free", "columns", "given")


def whole_numbers(example: torch.Tensor, shape: Sequence[int], generator: torch.Generator, how: str) -> torch.Tensor:
    """Integers like those of an example.

    Args:
        example: the integers.
        shape: that of the result; its last axes are those of the example, but for the first one of these.
        generator: of the numbers.
        how: one of `WHOLE`.
    """
    if how == "given":
        rows = torch.arange(shape[-example.ndim]) % example.shape[0] if example.ndim else None
        return (example if rows is None else example[rows.to(example.device)]).expand(tuple(shape)).clone()
    if how == "free" or example.ndim < 2 or not example.numel():
        high = int(example.max()) + 1 if example.numel() else 1
        low = 0 if high > 0 else int(example.min())  # places that are counted from the end
        return torch.randint(low, high, tuple(shape), generator=generator, dtype=example.dtype)
    highs = example.amax(0).cpu() + 1
    return (torch.rand(tuple(shape), generator=generator, dtype=torch.float64) * highs).to(example.dtype)


def fresh_inputs(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    generator: torch.Generator,
    lead: Sequence[int] = (),
    whole: str = "free",
) -> Inputs:
    """Random inputs like some examples.

    Tensors of real numbers are drawn in float64, those of integers as `whole_numbers` says, inside of
    lists, tuples and dicts too.  Masks (of booleans, or with `mask` in their name) keep their values, and what is no
    tensor is passed on.

    Args:
        args: the examples.
        kwargs: the examples by keyword.
        generator: of the data.
        lead: leading axes to add to every tensor.
        whole: how integers are drawn, one of `WHOLE`.
    """

    def draw(example: Any, name: str = "") -> Any:
        if not isinstance(example, torch.Tensor):
            return mapped(example, draw, name)
        shape = (*lead, *example.shape)
        if example.dtype == torch.bool or "mask" in name:
            kept = example.double() if example.is_floating_point() else example
            return kept.expand(shape)
        if example.is_floating_point():
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(example.device)
        return whole_numbers(example, shape, generator, whole).to(example.device)

    return tuple(draw(a) for a in args), {k: draw(v, k) for k, v in kwargs.items()}


def mapped(value: Any, change: Callable[[Any, str], Any], name: str = "") -> Any:
    """A list, tuple or dict with everything in it changed; anything else as it is.

    Args:
        value: what may hold others.
        change: from a value and its name to another value.
        name: of the value; what it holds has its key or number behind that.
    """
    if isinstance(value, dict):
        return type(value)({k: change(v, f"{name}/{k}") for k, v in value.items()})
    if isinstance(value, (list, tuple)):
        inside = [change(v, f"{name}/{i}") for i, v in enumerate(value)]
        return type(value)(*inside) if hasattr(value, "_fields") else type(value)(inside)
    if not isinstance(value, torch.Tensor) and (held := object_items(value)) is not None:
        items, again = held
        return again({k: change(v, f"{name}/{k}") for k, v in items.items()})
    return value


def tensors_in(value: Any, name: str = "") -> Tensors:
    """All tensors in lists, tuples and dicts, by the names that `mapped` gives them."""
    found: Tensors = {}

    def collect(inside: Any, path: str) -> Any:
        if isinstance(inside, torch.Tensor):
            found[path] = inside
        return mapped(inside, collect, path)

    collect(value, name)
    return found


def with_tensors(value: Any, tensors: Tensors, name: str = "") -> Any:
    """The same with other tensors by their names."""

    def put(inside: Any, path: str) -> Any:
        return tensors[path] if path in tensors else mapped(inside, put, path)

    return put(value, name)


def fit_losses(outputs: Tensors, loss: LossLike, axis: Axes) -> tuple[tuple[Loss, ...], tuple[int, ...]]:
    """The loss and the feature axis of every output of a module; a single loss is one for all of them.

    Raises:
        LossError: for losses or axes that do not fit the outputs.
    """
    losses = of_own(loss) if own_loss(outputs) else read(loss, list(outputs))
    axes = axis.among(outputs, losses) if isinstance(axis, ClassAxes) else each_axis(axis, len(outputs))
    for each, (name, z), a in zip(losses, outputs.items(), axes, strict=True):
        if z.ndim and not -z.ndim <= a < z.ndim:
            raise LossError(f"{name} has the shape {tuple(z.shape)}, which has no axis {a}; say where its features are")
        each.expect(z.shape[a] if z.ndim else 1, name)
    return losses, axes


def point_of(
    forward: Callable[[Tensors, Any], Tensors],
    parameters: Mapping[str, torch.Tensor],
    inputs: Any,
    loss: LossLike,
    generator: torch.Generator,
    axis: Axes,
) -> Point:
    """The gradient of a loss with random targets at given parameters.

    Args:
        forward: from parameters and inputs to the outputs by name.
        parameters: tensors by name.
        inputs: what `forward` reads.
        loss: the loss of every output.
        generator: of the targets.
        axis: the axis of the features in the output, or one for every output.

    Raises:
        LossError: for losses that do not fit the outputs.
        ModuleError: for an operation that torch has no derivative of.
    """
    leaves = {n: p.detach().clone().requires_grad_() for n, p in parameters.items()}
    value = random_loss(forward(leaves, inputs), loss, generator, axis)
    if leaves and value.requires_grad:
        with refused("the backward of the network does not run", "leave out what torch has no derivative of"):
            grads: tuple[torch.Tensor | None, ...] = torch.autograd.grad(value, [*leaves.values()], allow_unused=True)
    else:  # everything is frozen or detached: the gradient is zero
        grads = (None,) * len(leaves)
    gradient = {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(leaves.items(), grads, strict=True)}
    return Point({n: p.detach() for n, p in leaves.items()}, gradient, float(value.detach()))


def random_loss(outputs: Tensors, loss: LossLike, generator: torch.Generator, axis: Axes) -> torch.Tensor:
    """The loss of some outputs with random targets.

    Raises:
        LossError: for losses that do not fit the outputs.
    """
    losses, axes = fit_losses(outputs, loss, axis)
    return total(losses, list(outputs.values()), generator, axes)
