"""Laws: families of conserved quantities with their values, gradients, formulas and proofs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..parts import base
from .proof import Proof
from .statement import Statement

if TYPE_CHECKING:
    import sympy as sp
    import torch


@dataclass(frozen=True, eq=False)
class Law(Statement):
    """A family of conserved quantities.

    Attributes:
        prove: derives its proof, when that is asked for.
        formula: a sympy expression for it.
        proof: why it holds.
    """

    prove: Callable[[Law], Proof] = field(repr=False)

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
