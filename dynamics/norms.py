"""What the epsilon of normalisations does to laws, measured at every norm.

A norm writes `y = x / sqrt(s + epsilon)`, `s` the mean square of (centred) `x`.  Without epsilon it does not see the
size of `x`, and `<x, dL/dx>` is zero.  With it this product is `epsilon / (s + epsilon) <y, dL/dy>`, token by token,
and nothing else moves a law that holds up to epsilon at first order (`theory/laws/leak.py`).  It is read at the output,
so that a wrong backward of the norm itself is not taken for its epsilon.  A leaf beside the output, on which nothing
depends, has this product for its gradient; so autograd itself adds it up, also over checkpoints and several passes.
torch's own BatchNorm has the product already (`native_norms.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from lawful.theory.laws.law import Law
from lawful.theory.laws.leak import Leak, slopes
from lawful.theory.own_runs import is_own_run

from .conditioning import Conditioning
from .gradients import GradientWatch
from .hooks import Hook, Unsaved
from .native_norms import NativeNorm
from .norm_forms import BLOCKS, Form, of_block
from .norm_places import norms_of, place_of
from .unwrap import inside


class NormWatch:
    """Hooks on the normalisations of a model, and the type that autocast computes in.

    Args:
        model: the model.
        spending: counts the time of what is done inside.
    """

    def __init__(self, model: nn.Module, spending: Callable[[], AbstractContextManager[None]]) -> None:
        self.spending = spending
        self.idle = False  # nothing is watched in the next step
        self.compute: torch.dtype | None = None
        self.conditioning = Conditioning()
        self._model = model
        self._gradients: GradientWatch | None = None
        self._taps: dict[str, Tap] = {}
        self._handles: list[Any] = []

    def watch(self, laws: Iterable[Law], gradients: GradientWatch) -> None:
        """Begins to measure at the norms that some laws speak of."""
        self._gradients = gradients
        for part in self._model.modules():  # autocast may be entered inside of the model's own forward (Accelerate)
            if any(True for _ in part.parameters(recurse=False)):
                self._handles.append(part.register_forward_pre_hook(Hook(part, self._within)))
        device = next(iter(self._model.parameters())).device
        found: dict[str, set[Leak]] = {}
        for leak in (k for law in laws for k in law.leaks or ()):
            found.setdefault(leak.site, set()).add(leak)
        network: Any = inside(self._model)
        own = hasattr(network, "arch")
        modules = {} if own else norms_of(self._model)
        forms = {module: Form(module) for module in modules.values()}
        self.conditioning.watch(forms)
        places: dict[str, Tap] = {}
        for site, leaks in found.items():
            place = site if own else place_of(site, modules)
            if place is None:
                continue
            tap = places.get(place)
            if tap is None:
                module = modules.get(place)
                tap = places[place] = Tap(self, leaks, None if module is None else forms[module], device)
                if module is not None:
                    self._handles.append(module.register_forward_hook(Hook(module, tap)))
            tap.sites.append(site)
            self._taps[site] = tap
        if own:
            normed = [n for n in network.arch.nodes if isinstance(network.arch.block(n), BLOCKS)]
            taps = {n: self.conditioning.beside for n in normed} | {n: tap.beside for n, tap in places.items()}
            network.taps = Unsaved(taps)
            self._handles.append(_Untap(network))

    def aim(self, laws: Iterable[Law]) -> None:
        """Says which laws are watched in the next step."""
        sites = {k.site for law in laws for k in law.leaks or ()}
        self.idle = not sites
        for site, tap in self._taps.items():
            tap.idle = sites.isdisjoint((site, *tap.sites))

    def autocast(self) -> None:
        """Notes the type that autocast computes in, at a forward pass."""
        self.conditioning.passes()
        inner = [t.form.inner for t in self._taps.values() if t.form is not None and t.form.inner is not None]
        self.compute = _autocast() or next(iter(inner), None)
        for tap in self._taps.values():
            tap.calls = 0
            tap.whole = tap.whole and not tap.idle

    def _within(self, module: nn.Module, args: Any) -> None:
        """The same inside of the model."""
        kind = _autocast()
        if kind is not None and (self.compute is None or torch.finfo(kind).eps > torch.finfo(self.compute).eps):
            self.compute = kind

    def begins(self, carried: bool | None) -> None:
        """A backward pass begins: what earlier ones left counts only if their gradients are still there."""
        if carried is not True:
            for tap in self._taps.values():
                tap.whole = carried is False and not tap.idle
                tap.total = None if carried is False else tap.total

    def arrived(self) -> None:
        """Backward has reached a norm."""
        if self._gradients is not None:
            self._gradients.begins()

    def slopes(self, law: Law, multiple: float) -> Tensor | None:
        """What the epsilon of norms makes of `<grad h, g>`, one number for every scalar of a law; None if unknown.

        Args:
            law: a law that holds up to it.
            multiple: what the gradients were multiplied with since backward.
        """
        if law.leaks is None:
            return None
        products: dict[str, Tensor] = {}
        used = []
        for leak in law.leaks:
            tap = self._taps.get(leak.site)
            if tap is None or not tap.whole or not tap.knows(law.leaks):
                return None
            if tap not in used:  # of several calls of one module the products are added already
                used.append(tap)
                products[leak.site] = tap.read()
        found = slopes([k for k in law.leaks if k.site in products], products)
        return multiple * found.reshape(-1)

    def share(self, shards: Callable[[Tensor], Tensor] | None) -> None:
        """Averages what the processes measured, as their gradients are averaged."""
        taps = [tap for tap in dict.fromkeys(self._taps.values()) if not tap.idle]
        if shards is None or not taps:
            return
        whole = torch.cat([tap.read() for tap in taps])
        whole = shards(whole)
        for tap, part in zip(taps, whole.split([tap.length for tap in taps]), strict=True):
            tap.total = part

    def unmeasured(self, law: Law) -> tuple[str, ...]:
        """The norms of a law that nothing is known of."""
        return tuple(
            k.site for k in law.leaks or () if k.site not in self._taps or not self._taps[k.site].knows(law.leaks or ())
        )

    def close(self) -> None:
        """Takes the hooks away."""
        self.conditioning.close()
        for handle in self._handles:
            handle.remove()
        for tap in self._taps.values():
            tap.native.close()


class Tap:
    """One norm: a leaf beside its output whose gradient is `<x, dL/dx>`, as it must be.

    Args:
        watch: all norms.
        leaks: what laws say of it.
        form: what it divides by, None for a block of an architecture, which says it itself.
        device: where the model is.
    """

    def __init__(self, watch: NormWatch, leaks: Iterable[Leak], form: Form | None, device: torch.device) -> None:
        self.watch, self.form = watch, form
        self.size = next(iter(leaks)).size
        leading = {k.leading for k in leaks if not k.whole}
        channels = form is None or form.channels
        self.heads = leading.pop() if len(leading) == 1 and not channels else None
        self.length = self.size if channels else self.heads or 1
        self.sites: list[str] = []
        self.idle = False  # no law that speaks of it is watched in the next step
        self.whole = True  # no backward pass was left out since the gradients were empty
        self.calls = 0
        self.total: Tensor | None = None
        self.ever = False
        self.unclear = False
        self.native = NativeNorm(self.add)
        self.leaf = torch.zeros(self.length, dtype=torch.float64, device=device, requires_grad=True)
        self.leaf.register_post_accumulate_grad_hook(self._note)

    def __call__(self, module: nn.Module, args: Any, out: Any) -> Any:
        """A forward hook."""
        if not args or not isinstance(args[0], Tensor) or not isinstance(out, Tensor) or not module.training:
            return None
        assert self.form is not None
        if not self._open(out):
            return None
        if not torch.compiler.is_compiling():
            with torch.no_grad():
                self.form.find(module, args[0].detach(), out.detach())
            self.watch.compute = self.watch.compute or self.form.inner
        if self.form.batch and not torch.compiler.is_compiling() and self.native.follow(module, out):
            return None
        x = args[0].detach()
        weight = self.form.weight(module, x) if self.form.known else None
        axis = _axis(out, 1 if self.form.channels else None, self.size, self.heads)
        if weight is None or axis is None:
            self.unclear = True
            return None
        return _Beside.apply(out, self.leaf, weight, self.form.bias(module, out), axis)

    def beside(self, x: Tensor, out: Tensor, axis: int, block: Any) -> Tensor:
        """The output of a block of an architecture, watched.

        Args:
            x: what it reads.
            out: what it writes.
            axis: of the features.
            block: the block.
        """
        if not self._open(out):
            return out
        weight = of_block(block, x.detach(), axis)
        if weight is None:
            self.unclear = True
            return out
        found: Tensor = _Beside.apply(out, self.leaf, weight, None, axis % out.ndim)
        return found

    def _open(self, out: Tensor) -> bool:
        """Whether this pass is watched; counts it."""
        if self.watch.idle or not out.requires_grad or not torch.is_grad_enabled():
            return False
        if torch.compiler.is_compiling():  # all norms or none: a graph for every turn would be too many
            return True
        if self.idle or is_own_run():
            return False
        if torch._C._current_graph_task_id() < 0:
            self.calls += 1  # not those that a checkpoint makes again in backward
        return True

    def knows(self, leaks: Iterable[Leak]) -> bool:
        """Whether what was measured is what a law asks for."""
        mine = [k for k in leaks if k.site in self.sites]
        alike = len({(k.coefficient, k.run, k.dims, k.axes) for k in mine}) == 1 and len(mine) == len(self.sites)
        fits = self.length == self.size or all(k.whole or k.leading == self.length for k in mine)
        return self.ever and not self.unclear and alike and fits and self.calls <= len(self.sites)

    def read(self) -> Tensor:
        """The products since the gradients were empty."""
        return torch.zeros_like(self.leaf).detach() if self.total is None else self.total

    def _note(self, leaf: Tensor) -> None:
        new, leaf.grad = leaf.grad, None
        self.add(new)

    @torch.no_grad()
    def add(self, new: Tensor | None) -> None:
        """A backward pass, which writes its gradients into the parameters, has these products."""
        with self.watch.spending():
            self.watch.arrived()
            if new is None or new.requires_grad:  # a gradient of a gradient: the product is another one
                self.unclear = True
                return
            self.ever = True
            self.total = new if self.total is None else self.total + new


class _Untap:
    def __init__(self, network: Any) -> None:
        self.network = network

    def remove(self) -> None:
        self.network.taps = {}


class _Beside(torch.autograd.Function):
    """The identity; the gradient of the leaf is the weighted product of the output with what comes back."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, leaf: Tensor, weight: Tensor, bias: Tensor | None, axis: int) -> Tensor:
        ctx.save_for_backward(out, weight, bias)
        ctx.axis, ctx.kind = axis, leaf.dtype
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (out, weight, bias), (g,) = ctx.saved_tensors, grads
        if out.dtype not in (torch.float32, torch.float64):
            out, back = out.float(), g.float()
        else:
            back = g
        others = [i for i in range(out.ndim) if i != ctx.axis]
        told = ctx.axis >= 0 and bool(others) and weight.ndim == out.ndim
        if told and weight.shape[ctx.axis] == weight.numel() == out.shape[ctx.axis]:  # the same for all that is summed
            whole = (out * back).sum(others, dtype=ctx.kind)
            if bias is not None:
                whole = whole - bias.reshape(-1) * back.sum(others, dtype=ctx.kind)
            whole = whole * weight.reshape(-1)
        else:
            product = (out if bias is None else out - bias) * back * weight
            whole = product.sum(others, dtype=ctx.kind) if others else product.to(ctx.kind)
        whole = whole.full_tensor() if isinstance(whole, DTensor) else whole
        return g, whole.reshape(-1), None, None, None


def _autocast() -> torch.dtype | None:
    """The type that autocast computes in, None where it is off."""
    kinds = [k for k in ("cpu", "cuda") if torch.is_autocast_enabled(k)]
    return torch.get_autocast_dtype(kinds[-1]) if kinds else None


def _axis(x: Tensor, axis: int | None, size: int, heads: int | None) -> int | None:
    """The axis whose entries are told apart, -1 for none, None where it is not clear which it is."""
    if axis is not None:
        axis %= x.ndim
        return axis if x.shape[axis] == size else None
    if heads is None:
        return -1
    found = [i for i in range(1, x.ndim - 1) if x.shape[i] == heads]
    return found[0] if len(found) == 1 else None
