"""Laws: families of conserved quantities with their values, gradients, formulas and proofs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from ..arguments import LARGEST, of_right_kinds, shown, there_are
from ..parts import base
from ..typed import typed_methods
from .leak import Leak
from .proof import Proof
from .statement import Statement

if TYPE_CHECKING:
    import sympy as sp
    import torch


@typed_methods(least={"index": -LARGEST}, leave=("__init__",))
@dataclass(frozen=True, eq=False)
@of_right_kinds
class Law(Statement):
    """A family of conserved quantities.

    `algebra` says what indexes them, which is what tables call "indexed by":

    * `Full(n)`: every symmetric n x n matrix, so a symmetric matrix of n (n + 1) / 2 scalars; `Centred(n)`: the same of
      features less their mean;
    * `Diagonal(n)`: each of n features; `Scalar(n)`: all of them together, one scalar; `ScalarPlusOnes(n)`: their
      squares, and the square of their sum;
    * `Skew(n)`: skew-symmetric matrices, of planes that turn alike; `Cross(m, n)`: all pairs of features of two
      branches;
    * `Vector(n)`: n laws that are linear in the parameters;
    * `Blocks(k, A)`: `A` for each of k heads or groups by itself; `Copies(k, A)`: `A` once, summed over k heads or
      positions that share it; `Sum(A, B)`: `A` for the first features, `B` for those behind them; `Nothing(n)`: none.

    In a formula `W[i,:]` is row i and `W[8+(h,:)]` are the rows from number 8 on, counted head by head: row r of head h
    is row 8 + h n + r, if each head has n rows.

    Attributes:
        prove: derives its proof, when that is asked for.
        leaks: for a law that holds up to the epsilon of norms, what these do to it at first order; None if unknown.
        formula: a sympy expression for it.
        proof: why it holds.
    """

    prove: Callable[[Law], Proof] = field(repr=False)
    leaks: tuple[Leak, ...] | None = field(default=None, repr=False)

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
        """The whole law in LaTeX, without delimiters; it needs amsmath, KaTeX or MathJax."""
        from .notation import latex

        return latex(self)

    @property
    def text(self) -> str:
        """The whole law in plain text."""
        from .notation import text

        return text(self)

    @property
    def short(self) -> str:
        """The law in plain text, long sums cut: for tables."""
        from .notation import short

        return short(self)

    @property
    def short_latex(self) -> str:
        """The law in LaTeX, long sums cut: for tables."""
        from .notation import short_latex

        return short_latex(self)

    def to_dict(self) -> dict[str, Any]:
        """The law as plain data for JSON: what it says, with its text and LaTeX; without its proof."""
        from .exchange import leak_data, statement_data

        said = statement_data(self) | {"parameters": list(self.parameters), "text": self.text, "latex": self.latex}
        return said if self.leaks is None else said | {"leaks": leak_data(self.leaks)}

    @staticmethod
    def from_dict(data: object, where: str = "the law") -> Law:
        """A law from what `to_dict` made; its proof cannot be checked again.

        Args:
            data: the data.
            where: its place, for messages.

        Raises:
            ValueError: for data that is no law; names the place.
        """
        from .exchange import leaks_from, statement_fields, unproved

        return Law(**statement_fields(data, where), prove=unproved, leaks=leaks_from(data, where))

    def __reduce__(self) -> tuple[Any, ...]:
        return Law.from_dict, (self.to_dict(),)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.short_latex}$"

    def _repr_html_(self) -> str:
        from .pages import formula, table

        head = (self.name, "indexed by", "scalars", "exact")
        exact = "yes" if self.exact else "up to the epsilon of a norm"
        return table(head, [(formula(self.short_latex), escape(self.algebra), f"{self.count:,}", exact)])

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

        That of a complex parameter is complex, as torch gives it: by the real part, and `i` times by the imaginary one.

        Args:
            params: a module, a state dict or a dict of tensors.
            index: which scalar of `value`; may be left out for a law with a single scalar.
        """
        import torch

        names = list(dict.fromkeys(base(n) for n in self.parameters))
        leaves = {n: t.detach().clone().requires_grad_() for n, t in named_tensors(params, names).items() if n in names}
        value = self.value(leaves)
        index = (index,) if isinstance(index, int) else tuple(index)
        if not index and value.numel() != 1:
            raise IndexError(
                f"{self.name} has {value.numel()} scalars of shape {tuple(value.shape)}; say which with index="
            )
        if index and not (
            len(index) == value.ndim and all(-n <= i < n for i, n in zip(index, value.shape, strict=True))
        ):
            raise IndexError(f"{self.name} has scalars of shape {tuple(value.shape)}, which have no index {index}")
        scalar = value[index].reshape(())
        grads = torch.autograd.grad(scalar, list(leaves.values()), allow_unused=True)
        return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(leaves.items(), grads, strict=True)}

    def __str__(self) -> str:
        """Its name and what is conserved."""
        return f"{self.name}: {self.text}" + ("" if self.exact else " (up to the epsilon of a norm)")

    def __repr__(self) -> str:
        mark = "" if self.exact else ", approximate"
        return f"<Law {self.name}: {self.kind} on {self.wire}, {self.algebra}, {self.count} scalars{mark}>"


WRAPPERS = ("_orig_mod.", "module.", "_fsdp_wrapped_module.")


def unwrapped(name: str) -> str:
    """The name of a parameter without what torch.compile, DataParallel and their kin put before it."""
    while name.startswith(WRAPPERS):
        name = name.removeprefix(next(w for w in WRAPPERS if name.startswith(w)))
    return name


def as_parameters(params: object, names: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
    """Named tensors of real numbers from a module, a state dict or a dict.

    Complex ones have their real and imaginary parts on a last axis, as the laws of a module that holds them do.

    Raises:
        KeyError: if one of `names` is missing.
    """
    import torch

    def real(t: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(t.resolve_conj()) if isinstance(t, torch.Tensor) and t.is_complex() else t

    return {n: real(t) for n, t in named_tensors(params, names).items()}


def named_tensors(params: object, names: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
    """Named tensors from a module, a state dict or a dict, as they are.

    Raises:
        KeyError: if one of `names` is missing.
    """
    import torch

    from .evaluate import expect_tensor

    if isinstance(params, torch.nn.Module):
        # Nobody who asks a module for a value wants the graph behind it; a dict of tensors keeps it.
        named = params.named_parameters(remove_duplicate=False)
        found: dict[str, torch.Tensor] = {unwrapped(n): p.detach() for n, p in named}
    elif isinstance(params, Mapping):
        found = dict(params)
    else:
        raise TypeError(
            f"expected a module or a mapping of tensors, got {shown(params)}; to_torch() makes a module of an "
            "architecture"
        )
    for n in names or ():
        if n not in found:
            raise KeyError(f"no parameter {n!r}; {there_are(sorted(found))}; pass the module the law was derived from")
        expect_tensor(n, found[n])
    return found
