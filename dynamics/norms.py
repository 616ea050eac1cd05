"""What the epsilon of normalisations does to laws, measured: `<x, dL/dx>` at the input `x` of every norm.

Without epsilon a norm does not see the size of what it reads, so that this product is zero.  With epsilon it is
`epsilon / (variance + epsilon)` of what it would be without the norm, token by token, and nothing else moves a law that
holds up to epsilon at first order (`theory/laws/leak.py`).  A leaf beside the input, on which the output does not
depend, has this product for its gradient; so autograd itself adds it up, also over checkpoints and several passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from lawful.theory.laws.law import Law
from lawful.theory.laws.leak import Leak, slopes

from .gradients import GradientWatch
from .hooks import Hook, Unsaved
from .names import bare
from .unwrap import inside

CHANNELS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)


class NormWatch:
    """Hooks on the normalisations of a model, and the type that autocast computes in.

    Args:
        model: the model.
        spending: counts the time of what is done inside.
    """

    def __init__(self, model: nn.Module, spending: Callable[[], AbstractContextManager[None]]) -> None:
        self.spending = spending
        self.idle = False  # the next step is not watched
        self.compute: torch.dtype | None = None
        self.reading = True
        self._model = model
        self._gradients: GradientWatch | None = None
        self._taps: dict[str, Tap] = {}
        self._handles: list[Any] = []
        self._whole = True  # no backward pass was left out since the gradients were empty

    def watch(self, laws: Iterable[Law], gradients: GradientWatch) -> None:
        """Begins to measure at the norms that some laws speak of."""
        self._gradients = gradients
        gradients.beginning = self._begins
        device = next(iter(self._model.parameters())).device
        found: dict[str, set[Leak]] = {}
        for leak in (k for law in laws for k in law.leaks or ()):
            found.setdefault(leak.site, set()).add(leak)
        network = inside(self._model)
        own = hasattr(network, "arch")
        modules = {} if own else _norms(self._model)
        places: dict[str, Tap] = {}
        for site, leaks in found.items():
            place = site if own else _place(site, modules)
            if place is None:
                continue
            tap = places.get(place)
            if tap is None:
                axis = 1 if isinstance(modules.get(place), CHANNELS) else None
                tap = places[place] = Tap(self, leaks, axis, device)
                if not own:
                    self._handles.append(modules[place].register_forward_pre_hook(Hook(modules[place], tap)))
            tap.sites.append(site)
            self._taps[site] = tap
        if own:
            network.taps = Unsaved({n: tap.beside for n, tap in places.items()})
            self._handles.append(_Untap(network))

    def autocast(self) -> None:
        """Notes the type that autocast computes in, at a forward pass."""
        kinds = [k for k in ("cpu", "cuda") if torch.is_autocast_enabled(k)]
        self.compute = torch.get_autocast_dtype(kinds[-1]) if kinds else None
        self._whole = self._whole and not self.idle
        for tap in self._taps.values():
            tap.calls = 0

    def _begins(self, carried: bool | None) -> None:
        """A backward pass begins: what earlier ones left counts only if their gradients are still there."""
        if carried is False:
            self._whole = True
            for tap in self._taps.values():
                tap.total = None
        elif carried is None:
            self._whole = False

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
        if law.leaks is None or not self._whole:
            return None
        products: dict[str, Tensor] = {}
        used = []
        for leak in law.leaks:
            tap = self._taps.get(leak.site)
            if tap is None or not tap.knows(law.leaks):
                return None
            if tap not in used:  # of several calls of one module the products are added already
                used.append(tap)
                products[leak.site] = tap.read()
        found = slopes([k for k in law.leaks if k.site in products], products)
        return multiple * found.reshape(-1)

    def share(self, shards: Callable[[Tensor], Tensor] | None) -> None:
        """Averages what the processes measured, as their gradients are averaged."""
        taps = list(dict.fromkeys(self._taps.values()))
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
        for handle in self._handles:
            handle.remove()


class Tap:
    """One norm: a leaf beside its input whose gradient is `<x, dL/dx>`.

    Args:
        watch: all norms.
        leaks: what laws say of it.
        axis: of the features, None where it is the last one.
        device: where the model is.
    """

    def __init__(self, watch: NormWatch, leaks: Iterable[Leak], axis: int | None, device: torch.device) -> None:
        self.watch, self.axis = watch, axis
        one = next(iter(leaks))
        self.size = one.size
        leading = {k.leading for k in leaks if not k.whole}
        self.heads = leading.pop() if len(leading) == 1 else None
        if axis is not None or (not leading and not self.heads):
            self.heads = None
        self.apart = any(not k.whole for k in leaks)  # some law tells the features apart
        self.length = self.size if axis is not None else self.heads or 1
        self.sites: list[str] = []
        self.calls = 0
        self.total: Tensor | None = None
        self.ever = False
        self.unclear = False
        self.leaf = torch.zeros(self.length, dtype=torch.float64, device=device, requires_grad=True)
        self.leaf.register_post_accumulate_grad_hook(self._note)

    def __call__(self, module: nn.Module, args: Any) -> Any:
        """A forward pre-hook."""
        if not args or not isinstance(args[0], Tensor) or not module.training:
            return None
        return (self.beside(args[0], self.axis), *args[1:])

    def beside(self, x: Tensor, axis: int | None) -> Tensor:
        """The same tensor, watched."""
        watch = self.watch
        if watch.idle or not watch.reading or not x.requires_grad or not torch.is_grad_enabled():
            return x
        if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() < 0:
            self.calls += 1  # not those that a checkpoint makes again in backward
        at = _axis(x, axis, self.size, self.heads)
        if at is None:
            self.unclear = True
            return x
        out: Tensor = _Beside.apply(x, self.leaf, at)
        return out

    def knows(self, leaks: Iterable[Leak]) -> bool:
        """Whether what was measured is what a law asks for."""
        mine = [k for k in leaks if k.site in self.sites]
        alike = len({(k.coefficient, k.run, k.dims, k.axes) for k in mine}) == 1 and len(mine) == len(self.sites)
        fits = self.length == self.size or all(k.whole or k.leading == self.length for k in mine)
        return self.ever and not self.unclear and alike and fits and self.calls <= len(self.sites)

    def read(self) -> Tensor:
        """The products since the gradients were empty."""
        return torch.zeros_like(self.leaf).detach() if self.total is None else self.total

    @torch.no_grad()
    def _note(self, leaf: Tensor) -> None:
        with self.watch.spending():
            new, leaf.grad = leaf.grad, None
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
    """The identity; the gradient of the leaf is the product of the input with what comes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, leaf: Tensor, axis: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.axis, ctx.kind = axis, leaf.dtype
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (x,), (g,) = ctx.saved_tensors, grads
        product = x * g if x.dtype in (torch.float32, torch.float64) else x.float() * g.float()
        others = [i for i in range(x.ndim) if i != ctx.axis]
        whole = product.sum(others, dtype=ctx.kind) if others else product.to(ctx.kind)
        whole = whole.full_tensor() if isinstance(whole, DTensor) else whole
        return g, whole.reshape(-1) if ctx.axis >= 0 else whole.reshape(1), None


def _axis(x: Tensor, axis: int | None, size: int, heads: int | None) -> int | None:
    """The axis whose entries are told apart, -1 for none, None where it is not clear which it is."""
    if axis is not None:
        axis %= x.ndim
        return axis if x.shape[axis] == size else None
    if heads is None:
        return -1
    found = [i for i in range(1, x.ndim - 1) if x.shape[i] == heads]
    return found[0] if len(found) == 1 else None


def _norms(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that do nothing but normalise, by their bare names."""
    out = {}
    for name, module in model.named_modules():
        epsilon = any(isinstance(getattr(module, a, None), float) for a in ("eps", "epsilon", "variance_epsilon"))
        small = all(p.ndim <= 1 for p in module.parameters()) or isinstance(module, nn.LayerNorm)
        if "norm" in type(module).__name__.lower() and epsilon and small:
            out[bare(name)] = module
    return out


def _place(site: str, modules: Mapping[str, nn.Module]) -> str | None:
    """The norm that a block of the laws is, in a model that may be wrapped or hold it as a part."""
    plain = re.sub(r"#\d+$", "", site)
    at = [n for n in modules if plain == n or plain.startswith(n + ".")]
    if not at:
        at = [n for n in modules if n.endswith("." + plain) or any(n.endswith("." + p) for p in _heads(plain))]
        at = at if len(at) == 1 else []
    return max(at, key=len) if at else None


def _heads(name: str) -> list[str]:
    """What a name begins with, the longest first: `a.b.c` gives `a.b`."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(len(parts) - 1, 1, -1)]
