"""Laws: families of conserved quantities with their values, gradients, formulas and proofs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .diagram import View
from .named import Named
from .notes import facts, gaps
from .parts import base

if TYPE_CHECKING:
    import sympy as sp
    import torch

    from .proof import Proof
    from .verification import Report

Parameters = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True)
class Part:
    """A parameter as a law reads it: viewed, sliced and folded into the law's axes.

    Attributes:
        parameter: its name.
        view: reshape and permutation that bring the wire's indices to the front.
        sizes: lengths of the leading axes after the view.
        slices: the run of each of them that belongs to the law.
        dims: the multi-index of those runs.
        axes: the law axis of every entry of `dims`, -1 where it is summed over.
        offset: add this multiple of the identity first (`I + W` of a skip around a linear branch).
        ramp: weigh the entries unevenly, which makes a true law false (the control of a check).
    """

    parameter: str
    view: View
    sizes: tuple[int, ...]
    slices: tuple[tuple[int, int], ...]
    dims: tuple[int, ...]
    axes: tuple[int, ...]
    offset: Fraction = Fraction(0)
    ramp: bool = False

    def read(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor with the law's axes first, then what is summed, then the rest as one axis each."""
        if self.offset:
            tensor = tensor + float(self.offset) * identity_like(tensor)
        if self.ramp:
            tensor = tensor * ramp_like(tensor)
        x = tensor.reshape(self.view.shape).permute(self.view.order).reshape(*self.sizes, -1)
        for axis, (start, stop) in enumerate(self.slices):
            x = x.narrow(axis, start, stop - start)
        x = x.reshape(*self.dims, -1)
        kept = sorted((a, i) for i, a in enumerate(self.axes) if a >= 0)
        summed = [i for i, a in enumerate(self.axes) if a < 0]
        x = x.permute(*(i for _, i in kept), *summed, len(self.dims))
        lead = [self.dims[i] for _, i in kept]
        return x.reshape(*lead, math.prod(self.dims[i] for i in summed), -1)


def ramp_like(tensor: torch.Tensor) -> torch.Tensor:
    """Uneven weights for the entries of a tensor."""
    import torch

    i = torch.arange(tensor.numel(), dtype=torch.float64, device=tensor.device)
    return (1.5 + torch.cos(i * i)).to(tensor.dtype).reshape(tensor.shape)


def identity_like(tensor: torch.Tensor) -> torch.Tensor:
    """The weight of the identity map with the shape of a gain, a matrix or a convolution."""
    import torch

    if tensor.ndim == 1:
        return torch.ones_like(tensor)
    out = torch.zeros_like(tensor)
    centre = tuple(n // 2 for n in tensor.shape[2:])
    for i in range(tensor.shape[0]):
        out[(i, i % tensor.shape[1], *centre)] = 1
    return out


@dataclass(frozen=True)
class Term:
    """`coefficient * X X^T` (or `X Y^T`) in a quadratic law, `coefficient * sum(X)` in a linear one.

    `signs` weighs the `c` and `j` sectors of a scalar that mixes them: `signs[0] * tr G + signs[1] * (1^T G 1 - tr G)`.
    """

    coefficient: Fraction
    part: Part
    partner: Part | None = None
    off_diagonal: bool = False


@dataclass(frozen=True, eq=False)
class Law:
    """A family of conserved quantities.

    Attributes:
        name: readable and unique within its set.
        kind: `balance` (quadratic), `shift` (linear) or `frozen` (a parameter that never moves).
        wire: the wire or parameter it belongs to.
        algebra: which matrices or vectors index it, as text (`Full(4)`, `Diagonal(16)`).
        count: number of scalars in the family.
        independent: how many of them are independent at a generic point.
        exact: False where it holds only up to the epsilon of a norm.
        shape: shape of `value`, without a trailing axis for kernel positions.
        axis_kinds: what each value axis is (`free`, `traceless`, `matrix`, `centred`, `pair`).
        terms: how it reads the parameters.
        formula: a sympy expression for it.
        proof: why it holds.
        wires: names of all wires that its gauge moves, for a quadratic law.
    """

    name: str
    kind: str
    wire: str
    algebra: str
    count: int
    independent: int
    exact: bool
    shape: tuple[int, ...]
    axis_kinds: tuple[str, ...]
    terms: tuple[Term, ...]
    prove: Callable[[Law], Proof] = field(repr=False)
    wires: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters it depends on, each once."""
        names = (p.parameter for t in self.terms for p in (t.part, t.partner) if p is not None)
        return tuple(dict.fromkeys(names))

    @cached_property
    def proof(self) -> Proof:
        """The derivation, as a tree of theorems with their hypotheses."""
        return self.prove(self)

    @cached_property
    def formula(self) -> sp.Basic:
        """The law as a sympy expression in matrix symbols (one per parameter)."""
        from .formulas import formula

        return formula(self)

    @property
    def latex(self) -> str:
        """The law in LaTeX."""
        from .notation import latex

        return latex(self)

    @property
    def text(self) -> str:
        """The law in plain text."""
        from .notation import text

        return text(self)

    def value(self, params: object, magnitude: bool = False) -> torch.Tensor:
        """The law's scalars as one tensor.

        Args:
            params: a module, a state dict or a dict of tensors.
            magnitude: add absolute values instead, which gives the scale against which rounding is measured.

        Returns:
            A tensor of shape `shape` (a symmetric matrix for a full algebra, a vector for a diagonal, ...); a linear
            law of a convolution has one more axis for the kernel positions.

        Raises:
            KeyError: if a parameter is missing; names it and those that are there.
        """
        from .evaluate import evaluate

        return evaluate(self, as_parameters(params), magnitude)

    def gradient(self, params: object, index: Sequence[int] | int = ()) -> dict[str, torch.Tensor]:
        """The gradient of one scalar of the family, by parameter (whole ones, where the law reads parts).

        Args:
            params: a module, a state dict or a dict of tensors.
            index: which scalar of `value`; may be left out for a law with a single scalar.
        """
        import torch

        names = list(dict.fromkeys(base(n) for n in self.parameters))
        leaves = {n: t.detach().clone().requires_grad_() for n, t in as_parameters(params, names).items() if n in names}
        value = self.value(leaves)
        index = (index,) if isinstance(index, int) else tuple(index)
        if not index and value.numel() != 1:
            raise IndexError(
                f"{self.name} has {value.numel()} scalars of shape {tuple(value.shape)}; say which with index="
            )
        scalar = value[index].reshape(())
        grads = torch.autograd.grad(scalar, list(leaves.values()), allow_unused=True)
        return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(leaves.items(), grads, strict=True)}

    def __repr__(self) -> str:
        mark = "" if self.exact else ", approximate"
        return f"<Law {self.name}: {self.kind} on {self.wire}, {self.algebra}, {self.count} scalars{mark}>"


def as_parameters(params: object, names: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
    """Named tensors from a module, a state dict or a dict.

    Raises:
        KeyError: if one of `names` is missing.
    """
    import torch

    if isinstance(params, torch.nn.Module):
        found: dict[str, torch.Tensor] = dict(params.named_parameters(remove_duplicate=False))
    elif isinstance(params, Mapping):
        found = dict(params)
    else:
        raise TypeError(f"expected a module or a mapping of tensors, got {type(params).__name__}")
    for n in names or ():
        if n not in found:
            raise KeyError(
                f"no parameter {n!r}; there are {', '.join(sorted(found)[:8])}; "
                "pass the module the law was derived from"
            )
    return found


class LawSet(Named[Law]):
    """The laws of one network under one loss.

    Attributes:
        independent: number of independent scalar laws at a generic point.
        exact_independent: the same for the laws that hold exactly (without those up to an epsilon).
        loss: the loss they were derived for.
        parameters: number of trainable scalars.
        notes: what may be missing, for example behind an opaque block, and facts that a reader should know.
        axes: of a traced module, the axis of the classes in each of its outputs, None where they fill none; else empty.
    """

    axes: tuple[int | None, ...] = ()

    def __init__(
        self,
        laws: Sequence[Law],
        independent: int,
        exact_independent: int,
        loss: str,
        parameters: int,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(laws)
        self.independent = independent
        self.exact_independent = exact_independent
        self.loss = loss
        self.parameters = parameters
        self.notes = tuple(notes)

    @property
    def gaps(self) -> tuple[str, ...]:
        """The notes that say where laws may be missing: empty if no limit of the rules was met."""
        return gaps(self.notes)

    @property
    def facts(self) -> tuple[str, ...]:
        """The other notes: what holds for the example's shape only, what was not compared."""
        return facts(self.notes)

    def _subset(self, laws: list[Law]) -> LawSet:
        total = sum(law.independent for law in laws)
        exact = sum(law.independent for law in laws if law.exact)
        out = LawSet(laws, total, exact, self.loss, self.parameters, self.notes)
        out.axes = self.axes
        return out

    def where(
        self,
        *,
        algebra: str | None = None,
        wire: str | None = None,
        exact: bool | None = None,
        kind: str | None = None,
    ) -> LawSet:
        """The laws that match; `algebra` and `wire` match as the beginning of the name."""
        return self._subset(
            [
                law
                for law in self._laws
                if (algebra is None or law.algebra.startswith(algebra))
                and (wire is None or law.wire.startswith(wire))
                and (exact is None or law.exact == exact)
                and (kind is None or law.kind == kind)
            ]
        )

    def on(self, parameters: Sequence[str] | str) -> LawSet:
        """The laws that depend only on these parameters (names, or a prefix of names): the submodule theorem.

        Source: Marcotte, Gribonval, Peyré 2025, theorem 4.6.
        """
        if isinstance(parameters, str):
            return self._subset([w for w in self._laws if all(p.startswith(parameters) for p in w.parameters)])
        allowed = set(parameters)
        return self._subset([w for w in self._laws if all(allowed & {p, base(p)} for p in w.parameters)])

    def without(self, laws: Sequence[Law], notes: Sequence[str]) -> LawSet:
        """All laws but these, with further notes that say why."""
        kept = [w for w in self._laws if w not in laws]
        lost = sum(w.independent for w in laws)
        lost_exact = sum(w.independent for w in laws if w.exact)
        counts = (self.independent - lost, self.exact_independent - lost_exact)
        out = LawSet(kept, *counts, self.loss, self.parameters, (*self.notes, *notes))
        out.axes = self.axes
        return out

    def verify(self, network: object, **options: Any) -> Report:
        """Checks every law by gradients in float64 (see `verification.verify` for the options).

        Args:
            network: an architecture, or a module with `args=(example inputs,)`.
            **options: `args`, `samples`, `seed`, `tolerance`, `axis`.
        """
        from .verification import verify

        return verify(self, network, self.loss, **options)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        scalars = f"{self.count} scalar laws, {self.independent} independent"
        notes = f", {len(self.notes)} notes" if self.notes else ""
        return f"<LawSet: {len(self)} families, {scalars}, loss {self.loss}{notes}>"
