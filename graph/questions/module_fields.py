"""The gradient fields of a torch module: run with other parameters in their places, held against its own gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.func import functional_call, grad, vmap

from lawful.blocks import ShapeError
from lawful.theory.losses import LossError, LossLike, pair
from lawful.theory.oracle.double import double
from lawful.theory.oracle.lending.lent import lent
from lawful.theory.oracle.lending.storage import own_parameters, shared_names
from lawful.theory.oracle.modules import (
    WHOLE,
    Axes,
    Inputs,
    as_double,
    fit_losses,
    fresh_inputs,
    has_whole,
    is_whole,
    tensors_in,
    with_tensors,
)
from lawful.theory.oracle.outputs import named_outputs
from lawful.theory.refusals import InputsError

COMBINED = 3  # fields in one random combination
INPUT_SCALE = 2.5  # of inputs, so that thresholds are seen from both sides and an exponential stays a number
AGREEMENT = 1e-6  # relative, of two gradients of the same numbers
Tensors = dict[str, torch.Tensor]
Data = tuple[Tensors, Sequence[torch.Tensor]]
Fields = tuple[Callable[[torch.Tensor, Any], torch.Tensor], torch.Tensor, Callable[[int], Any]]


class HiddenError(ShapeError):
    """A module whose gradient is not that of its parameters in their places."""


def paired(
    probes: Sequence[str], outputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], axes: Sequence[int]
) -> torch.Tensor:
    """The potential of random output gradients that the losses can send."""
    terms = [pair(probe, z, w, a) for probe, z, w, a in zip(probes, outputs, weights, axes, strict=True)]
    return sum(terms[1:], start=terms[0])


def random_weights(
    lead: tuple[int, ...], outputs: Sequence[torch.Tensor], generator: torch.Generator
) -> tuple[torch.Tensor, ...]:
    """A random tensor for every output, with leading axes."""
    return tuple(torch.randn((*lead, *z.shape), generator=generator, dtype=torch.float64) for z in outputs)


def module_fields(
    module: torch.nn.Module,
    loss: LossLike,
    examples: Inputs,
    axis: Axes,
    generator: torch.Generator,
    far: bool = False,
) -> Fields:
    """A potential whose gradients are those that losses can send to a module, a random point, and a source of data.

    Brackets need derivatives of fields, so other parameters are put in the places of its own for every run.  What
    reaches weights around those places (a closure, a hook, a patched forward) or changes a gradient would not be seen:
    the field is held against the gradient that backward leaves in the module itself.

    Args:
        module: any module whose forward gives one tensor, or a tuple, list or dict of tensors.
        loss: the loss of its output, or one for every output.
        examples: example inputs, positional and by keyword.
        axis: the axis of the features (the classes) in the output, or one for every output.
        generator: of the point and the data.
        far: whether the point is any, and not one near the module's own.

    Raises:
        ShapeError: without example inputs, and for losses that do not fit the outputs.
        HiddenError: where the two gradients differ.
        LendingError: for a module that cannot be run without leaving a trace (see `lent`).
        SharedMemoryError: for parameters that overlap in memory.
    """
    if not any(examples):
        raise InputsError("counting", module)
    with lent(module):
        fields = _ModuleFields(module, loss, examples, axis, generator, far)
        fields.expect_own()

    def potential(t: torch.Tensor, data: Data) -> torch.Tensor:  # torch.fx counts the arguments, `self` among them
        return fields.potential(t, data)

    return potential, fields.theta, fields.sample


class _ModuleFields:
    """The fields of one module at one random point."""

    def __init__(
        self,
        module: torch.nn.Module,
        loss: LossLike,
        examples: Inputs,
        axis: Axes,
        generator: torch.Generator,
        far: bool,
    ) -> None:
        self._module, self._examples, self._generator = module, examples, generator
        own = own_parameters(module)
        self._names = [n for n, p in own.items() if p.requires_grad]
        self._shapes = [own[n].shape for n in self._names]
        self._sizes = [own[n].numel() for n in self._names]
        self._same = shared_names(module)
        self._buffers = {n: as_double(v) for n, v in module.named_buffers()}
        self._fixed = {n: as_double(p) for n, p in own.items() if not p.requires_grad}
        parts = [as_double(own[n]).reshape(-1) for n in self._names]
        parts = [_moved(p, generator, far) for p in parts]
        self.theta = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
        whole = has_whole(*examples)
        self._tables = self._rows(module) if whole else {}
        ways = list(WHOLE if whole else WHOLE[:1])
        while True:
            self._whole = ways.pop(0)
            try:
                outputs = self._run(self.theta, self._draw(()))
                break
            except Exception:
                if not ways:
                    raise
        try:
            losses, self._axes = fit_losses(outputs, loss, axis)
        except LossError as error:
            raise ShapeError(str(error)) from error
        self._probes, self._ends = [m.probe for m in losses], list(outputs.values())

    def potential(self, t: torch.Tensor, data: Data) -> torch.Tensor:
        """A random combination of fields, as a function of the parameters laid end to end."""
        return vmap(lambda each: self._term(self._run(t, each[0]), each[1]))(data).sum()

    def sample(self, n: int) -> Data:
        """Data of `n` combinations."""
        lead = (n, COMBINED)
        return self._draw(lead), random_weights(lead, self._ends, self._generator)

    def expect_own(self) -> None:
        """Holds the field of one draw of data against the gradient that backward leaves in the module.

        Raises:
            HiddenError: where they differ.
        """
        inputs, w = self.sample(1)
        data = {k: x[0] for k, x in inputs.items()}, [v[0] for v in w]
        seed = int(torch.randint(2**31, (), generator=self._generator))
        torch.manual_seed(seed)  # of what the module itself draws
        found = grad(self.potential)(self.theta, data)
        own = self._own_gradient(data, seed)
        if float((found - own).norm()) > AGREEMENT * float(found.norm() + own.norm()):
            raise HiddenError(
                f"the gradient of {type(self._module).__name__} is another one than that of its parameters: something "
                "reaches them around their places (a closure, a hook, a patched forward), or changes their gradients; "
                "let its forward read its own parameters"
            )

    def _own_gradient(self, data: Data, seed: int) -> torch.Tensor:
        """The same field, as training finds it."""
        total = torch.zeros_like(self.theta)
        with lent(self._module, as_double) as own, double():
            torch.manual_seed(seed)
            for inputs, w in _each(data):
                own.start(self._parameters(self.theta))
                args, kwargs = self._arguments(inputs)
                value = self._term(named_outputs(self._module, self._module(*args, **kwargs)), w)
                if value.requires_grad:
                    value.backward()
                gradient = own.gradients()
                if self._names:
                    total = total + torch.cat([gradient[n].reshape(-1) for n in self._names])
        return total

    def _term(self, outputs: Tensors, weights: Sequence[torch.Tensor]) -> torch.Tensor:
        return paired(self._probes, list(outputs.values()), weights, self._axes)

    def _run(self, t: torch.Tensor, tensors: Tensors) -> Tensors:
        values = self._parameters(t)
        values |= {other: values[first] for other, first in self._same.items()}
        values |= {n: b.clone() for n, b in self._buffers.items()}
        with double():
            return named_outputs(self._module, functional_call(self._module, values, *self._arguments(tensors)))

    def _parameters(self, t: torch.Tensor) -> Tensors:
        parts = zip(self._names, t.split(self._sizes), self._shapes, strict=True)
        return {n: p.reshape(s) for n, p, s in parts} | self._fixed

    def _arguments(self, tensors: Tensors) -> Inputs:
        args, kwargs = with_tensors(self._examples, tensors)
        return args, kwargs

    def _rows(self, module: torch.nn.Module) -> dict[str, int]:
        """The rows of the largest table that each input of integers may name: an example names few of them."""
        kinds = (torch.nn.Embedding, torch.nn.EmbeddingBag)
        tables = sorted({m.num_embeddings for m in module.modules() if isinstance(m, kinds)}, reverse=True)
        given = tensors_in(fresh_inputs(*self._examples, self._generator, (), "given"))
        found = {}
        for key, value in given.items():
            for rows in tables if is_whole(value) else ():
                try:
                    self._run(self.theta, given | {key: torch.full_like(value, rows - 1)})
                except (IndexError, RuntimeError):  # it names rows of a smaller one, or none
                    continue
                named = int(value.max()) + 1 if value.numel() else 0  # words that are hashed may be more than the rows
                found[key] = max(rows, named)
                break
        return found

    def _draw(self, lead: tuple[int, ...]) -> Tensors:
        """Random inputs of all sizes by place: what is no tensor cannot be mapped over and stays in the examples."""
        found = tensors_in(fresh_inputs(*self._examples, self._generator, lead, self._whole))
        if self._whole == WHOLE[0]:
            for key, rows in self._tables.items():
                wide = torch.randint(rows, found[key].shape, generator=self._generator, dtype=found[key].dtype)
                found[key] = wide.to(found[key].device)
        # Thresholds of bounded activations are far out, and no pattern of another point is drawn here.
        # What one field adds up has one size: the largest would hide the others behind an exponential.
        alike = (*lead[:1], *[1] * (len(lead) - 1))
        sizes = INPUT_SCALE ** (3 * torch.rand(alike, generator=self._generator, dtype=torch.float64) - 1)
        return {
            k: v * sizes.reshape(*alike, *[1] * (v.ndim - len(lead))).to(v.device) if _drawn(k, v) else v
            for k, v in found.items()
        }


def _moved(own: torch.Tensor, generator: torch.Generator, far: bool) -> torch.Tensor:
    """A random point near some numbers, or anywhere of their size."""
    noise = torch.randn(own.numel(), generator=generator, dtype=torch.float64)
    return (0.5 + float(own.square().mean().sqrt())) * noise if far and own.numel() else own + 0.5 * noise


def _each(data: Data) -> list[Data]:
    """The runs that one combination is made of."""
    inputs, w = data
    return [({k: x[i] for k, x in inputs.items()}, [v[i] for v in w]) for i in range(COMBINED)]


def _drawn(key: str, value: torch.Tensor) -> bool:
    return value.is_floating_point() and "mask" not in key
