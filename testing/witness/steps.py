"""Steps of a user's own module, in float64 or as it is; afterwards it is what it was.

This file is long because both ways to run a step share how its inputs and parameters are moved.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lawful.theory.oracle.double import double
from lawful.theory.oracle.lending.lent import lent
from lawful.theory.oracle.modules import as_double, perturbed
from lawful.theory.oracle.outputs import named_outputs
from lawful.theory.refusals import ModuleError, refused

from .keeping import Start, kept
from .losses import LossOf
from .sample import Gradients, Sample, left, take, tied

MOST = 6  # steps, while a parameter has not moved


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        module: as the user passes it: compiled, wrapped for several processes, or plain.
        args: its inputs.
        kwargs: its inputs by keyword.
        loss: a loss by the seed of its targets.
        samples: number of steps; more are taken where a parameter has not moved.
        seed: of everything random.
        training: whether it runs in training mode; False keeps its modes.
        by_design: see `judge`.
    """

    module: torch.nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    loss: Callable[[int], LossOf]
    samples: int
    seed: int
    training: bool
    by_design: tuple[str, ...] = ()


def inner(module: torch.nn.Module) -> torch.nn.Module:
    """The module that the user wrote, without what `torch.compile` and DDP put around it."""
    while True:
        if isinstance(module, torch.nn.parallel.DistributedDataParallel):
            held = module.module
        elif hasattr(module, "_orig_mod"):
            held = module._orig_mod
        else:
            return module
        assert isinstance(held, torch.nn.Module)
        module = held


def trains(module: torch.nn.Module) -> None:
    """Puts a module into training mode, if it has one: what torch.export gives back has not."""
    with suppress(NotImplementedError):
        module.train()


def is_wrapped(module: torch.nn.Module) -> bool:
    """Whether a module runs otherwise than its own forward says."""
    return inner(module) is not module or any(m._compiled_call_impl is not None for m in module.modules())


def in_double(request: Request) -> list[Sample]:
    """Steps in float64."""
    module = request.module
    last: Exception | None = None
    for wide in (False, True):
        try:
            if wide:
                _runs(request)
            with lent(module, as_double) as own, _wide(wide):
                if request.training:
                    trains(module)
                trained: dict[str, torch.Tensor] = {n: p for n, p in own.parameters.items() if p.requires_grad}
                given = {n: as_double(p) for n, p in own.parameters.items()}

                def again(
                    values: Mapping[str, torch.Tensor],
                    before: Callable[[], object] | None,
                    own: Any = own,
                    given: Mapping[str, torch.Tensor] = given,
                ) -> Callable[[], None]:
                    def run() -> None:
                        own.start(given if before else values)
                        if before:
                            before()
                            own.put(values)

                    return run

                fresh = {n: t for n, t in own.unregistered.items() if t.grad is None}  # others are trained by somebody
                found = _steps(request, module, trained, given, again, wide)
                for one in found:
                    one.unregistered = tuple(n for n, t in fresh.items() if t.grad is not None)
            if found:  # else: the smallest number of float64 in a float32 is none (masks of language models)
                return found
        except ModuleError as error:
            last = last or error
    if last is not None:
        raise last
    return []


def _runs(request: Request) -> None:
    """Runs the forward in the module's own numbers: what it refuses itself is not to run in wider ones only.

    Raises:
        ModuleError: where it does not run.
    """
    module = request.module
    with kept(module), torch.no_grad():
        if request.training:
            trains(module)
        with refused(f"the forward of {type(module).__name__} does not run"):
            module(*request.args, **request.kwargs)


@contextmanager
def _wide(wide: bool) -> Iterator[None]:
    """Constants made in the forward are float64; with `wide`, so is everything that it casts to narrower numbers."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with double() if wide else nullcontext():
            yield
    finally:
        torch.set_default_dtype(before)


def _steps(
    request: Request,
    module: torch.nn.Module,
    trained: dict[str, torch.Tensor],
    given: Mapping[str, torch.Tensor],
    again: Again,
    wide: bool,
) -> list[Sample]:
    generator = torch.Generator().manual_seed(request.seed)
    found: list[Sample] = []
    before: set[str] = set()
    sizes = (3.0, None) if _is_large(request) else (3.0,)
    for i in range(max(MOST, request.samples)):
        extra = i - request.samples
        unmoved = _unmoved(found, trained) if extra >= 0 else set()
        if extra >= 0 and (not unmoved or (unmoved == before and extra >= len(sizes))):
            break  # one more did not move what rested in all others
        before = unmoved
        values = given if i == 0 else {n: perturbed(p, generator) for n, p in given.items()}
        size = sizes[extra % len(sizes)] if extra >= 0 else 1.0
        inputs = jittered(request.args, request.kwargs, generator if i else None, size)
        calls = [inputs] if i != 1 else [longer(*inputs), inputs]  # kernels go wrong where sizes are odd
        at = _At(request, module, trained, values, again, request.seed + i)
        for (args, kwargs), second in [(c, s) for c in calls for s in (True, False)[i != 1 :]]:
            try:
                one = at.step(args, kwargs, second)
            except ModuleError:
                if i == 0:
                    raise
                continue
            if _finite(one):
                one.longer = len(calls) > 1 and args is calls[0][0]
                if one.longer and second and not all(one.fits(n, one.cut) for n in trained):
                    with suppress(ModuleError):  # is it the size, or that it is the second step?
                        found += filter(_finite, [at.step(*inputs, second)])
                found.append(one)
                break
    return found


@dataclass(frozen=True)
class _At:
    """Steps of a module at some values of its parameters."""

    request: Request
    module: torch.nn.Module
    trained: dict[str, torch.Tensor]
    values: Mapping[str, torch.Tensor]
    again: Again
    seed: int

    def step(self, args: tuple[Any, ...], kwargs: dict[str, Any], second: bool) -> Sample:
        """One step, if it is to be the second one behind one at the module's own parameters."""
        module = self.module
        loss, meant = self.request.loss(self.seed), self.request.by_design

        def first() -> None:
            torch.manual_seed(self.seed)
            with refused(f"the forward of {type(module).__name__} does not run"):
                value = loss(named_outputs(module, module(*args, **kwargs)))
            if value.requires_grad:
                with refused(f"the backward of {type(module).__name__} does not run"):
                    value.backward()

        start = self.again(self.values, first if second else None)
        one = take(module, self.trained, args, kwargs, loss, self.seed, start, by_design=meant)
        one.second = second
        return one


# puts a module to the start of a step at some parameters, or behind another step that ran at its own ones
Again = Callable[[Mapping[str, torch.Tensor], Callable[[], object] | None], Callable[[], None]]


def _is_large(request: Request) -> bool:
    """Whether inputs are far larger or smaller than one, where units are saturated or see nothing."""
    inputs = pytree.tree_flatten((request.args, request.kwargs))[0]
    real = [x for x in inputs if isinstance(x, Tensor) and x.is_floating_point() and x.numel() and not x.is_nested]
    return any(not 0.1 < float(x.double().square().mean().sqrt()) < 10 for x in real if x.layout is torch.strided)


def _unmoved(samples: Sequence[Sample], trained: Mapping[str, torch.Tensor]) -> set[str]:
    return {n for n in trained if not any(s.moved(n) or s.unknown for s in samples)}


def _finite(sample: Sample) -> bool:
    grads = [*(sample.true or sample.own).values()]
    return all(bool(torch.isfinite(g).all()) for g in grads if g is not None) and sample.value == sample.value


def as_it_is(request: Request) -> list[Sample]:
    """Steps of the module in its own types of numbers, with its own forward and `loss.backward()`.

    Where a parameter has not moved (an adapter that starts at zero), there is one at other parameters; what is not
    compiled also takes one with one example more, as kernels go wrong where sizes are odd.
    """
    module, plain = request.module, inner(request.module)
    generator = torch.Generator().manual_seed(request.seed)
    with kept(plain):
        if request.training:
            trains(module)
        once = tied(plain)
        trained: dict[str, torch.Tensor] = {
            n: p for n, p in plain.named_parameters() if p.requires_grad and n not in once
        }
        start = Start(plain)
        found = [_as_it_is(request, trained, start, {})]
        if isinstance(module, torch.nn.parallel.DistributedDataParallel):
            return [one for one in found if _finite(one)]
        if _unmoved(found, trained):
            moved = {n: perturbed(p.detach().double(), generator) for n, p in trained.items()}
            found.append(_as_it_is(request, trained, start, moved))
        if not is_wrapped(module):  # that of torch.compile would be compiled again
            args, kwargs = longer(request.args, dict(request.kwargs))
            with suppress(ModuleError):
                found.append(_as_it_is(replace(request, args=args, kwargs=kwargs), trained, start, {}))
                found[-1].longer = True
        return [one for one in found if _finite(one)]


def _as_it_is(
    request: Request, trained: dict[str, torch.Tensor], start: Start, values: Mapping[str, torch.Tensor]
) -> Sample:
    """One such step; with the numbers of some parameters in place of their own."""
    module, plain = request.module, inner(request.module)
    loss = request.loss(request.seed)

    def again() -> None:
        for p in plain.parameters():
            p.grad = None
        start.put_back()
        for n, v in values.items():
            trained[n].detach().copy_(v)

    def own() -> Gradients:
        again()
        torch.manual_seed(request.seed)
        with refused(f"the forward of {type(plain).__name__} does not run"):
            value = loss(named_outputs(plain, module(*request.args, **request.kwargs)))
        if value.requires_grad:
            with refused(f"the backward of {type(plain).__name__} does not run"):
                value.backward()
        return left(plain, trained)

    real = own() if is_wrapped(module) else None
    with eagerly(plain):
        one = take(
            plain,
            trained,
            request.args,
            request.kwargs,
            loss,
            request.seed,
            again,
            None if real is None else lambda: real,
            request.by_design,
        )
    if isinstance(module, torch.nn.parallel.DistributedDataParallel):
        _average(one, module)
    return one


def _average(sample: Sample, module: torch.nn.parallel.DistributedDataParallel) -> None:
    """What every process should hold: the mean over all of them."""
    import torch.distributed as dist

    count = dist.get_world_size(module.process_group)
    for side in {id(s): s for s in (sample.true, sample.cut, sample.meant)}.values():
        for name, p in sample.parameters.items():
            if name in side or side is sample.true:
                g = side.get(name)
                total = torch.zeros_like(p) if g is None else g.detach().clone()
                dist.all_reduce(total, group=module.process_group)
                side[name] = total / count
    sample.wires = {}
    sample.__dict__.pop("scale", None)


@contextmanager
def eagerly(module: torch.nn.Module) -> Iterator[None]:
    """Compiled forwards run uncompiled."""
    own = [(m, m._compiled_call_impl) for m in module.modules() if m._compiled_call_impl is not None]
    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for m, _ in own:
            m._compiled_call_impl = None
        try:
            yield
        finally:
            for m, call in own:
                m._compiled_call_impl = call


def jittered(
    args: Sequence[Any], kwargs: Mapping[str, Any], generator: torch.Generator | None, size: float | None = 1.0
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs near some examples, real numbers in float64; those of integers in another order, masks as they are.

    Args:
        args: the examples.
        kwargs: those by keyword.
        generator: of the changes; None for the examples themselves.
        size: what real numbers are multiplied by; None to make each tensor as large as one.
    """

    def change(x: Any, name: str = "") -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        if x.layout is not torch.strided or x.is_nested:
            return x.double() if x.is_floating_point() else x
        if x.is_floating_point():
            x = as_double(x)
            if generator is None or "mask" in name:
                return x
            spread = float(x.std()) if x.numel() > 1 else 1.0
            noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device)
            x = x + 0.5 * (spread or 0.2) * noise
            return size * x if size is not None else x / (float(x.square().mean().sqrt()) or 1.0)
        if x.is_complex():
            return x.to(torch.complex128, copy=True)
        if generator is None or x.dtype == torch.bool or "mask" in name or x.numel() < 2:
            return x.clone()
        order = torch.randperm(x.numel(), generator=generator).to(x.device)
        return x.reshape(-1)[order].reshape(x.shape)

    return pytree.tree_map(change, tuple(args)), {
        k: pytree.tree_map(lambda v, k=k: change(v, k), v) for k, v in kwargs.items()
    }


def longer(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs with one example more: every tensor that is as long as the first one gets its first row again."""
    length = next((x.shape[0] for x in pytree.tree_flatten((args, kwargs))[0] if isinstance(x, Tensor) and x.ndim), 0)

    def grow(x: Any) -> Any:
        fits = isinstance(x, Tensor) and x.ndim and 0 < x.shape[0] == length and x.layout is torch.strided
        return torch.cat([x, x[:1]]) if fits else x

    return pytree.tree_map(grow, (args, kwargs))


__all__ = ["Request", "as_it_is", "eagerly", "in_double", "inner", "is_wrapped", "jittered", "longer", "trains"]
