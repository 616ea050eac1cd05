"""Count formulas of the laws of a setting, read off many sizes."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp

from lawful.graph.questions.derive import derive
from lawful.theory.derive.lawset import LawSet
from lawful.theory.laws.law import Law

from .optimizers import MATRIX
from .polynomials import evaluate, fit, monomials, written
from .settings.setting import Setting

CHECKS = 12  # sizes beyond those that determine a formula
WIDE = 30  # added to widths that should exceed all others
SPAN = 6  # of the other widths

Sizes = dict[str, int]


@dataclass(frozen=True)
class Formulas:
    """Numbers of a law as functions of the widths.

    Attributes:
        count: of its scalars.
        independent: of the independent ones; empty where all are.
        skew: of the skew-symmetric matrices that commutators of its matrices span; empty where there are none.
    """

    count: str
    independent: str = ""
    skew: str = ""


@dataclass(frozen=True)
class _Observation:
    """One law at some sizes: its counts and the width of its matrices."""

    sizes: Sizes
    count: int
    independent: int
    width: int

    @staticmethod
    def of(law: Law, sizes: Sizes) -> _Observation:
        return _Observation(sizes, law.count, law.independent, law.shape[-1] if has_matrices(law) else 1)


def has_matrices(law: Law) -> bool:
    """Whether a law is indexed by full symmetric matrices (of one or of two wires), and not by numbers."""
    return bool(set(law.axis_kinds) & set(MATRIX))


class _Family:
    """The laws of a setting at many sizes."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.widths = list(setting.sizes)
        self._known: dict[tuple[int, ...], dict[str, Law]] = {}

    def see(self, name: str, sizes: Sizes) -> _Observation:
        """A law at some sizes.

        Raises:
            ValueError: if it does not exist there.
        """
        key = tuple(sizes.values())
        if key not in self._known:
            found = derive(self.setting.architecture(**sizes), self.setting.loss)
            self._known[key] = {law.name: law for law in found}
        there = self._known[key]
        if name not in there:  # the run of a parameter in brackets depends on the sizes
            alike = [n for n in there if n.partition("[")[0] == name.partition("[")[0]]
            name = alike[0] if "[" in name and len(alike) == 1 else name
        if name not in there:
            raise ValueError(f"{self.setting.name}: {name!r} does not exist at {sizes}, only {', '.join(there)}")
        return _Observation.of(there[name], sizes)

    def formulas(self, law: Law) -> Formulas:
        """The formulas of one law."""
        where = f"{self.setting.name}, {law.name}"
        rows = [self.see(law.name, sizes) for sizes in sample_sizes(self.setting)]
        total = self._polynomial(f"{where}: the counts", {tuple(r.sizes.values()): r.count for r in rows})
        width = sp.Integer(1)
        if has_matrices(law):
            width = self._polynomial(f"{where}: the widths", {tuple(r.sizes.values()): r.width for r in rows})
        skew = ""
        if has_matrices(law):
            # As many as symmetric ones between two wires; on one wire n (n - 1) / 2 for every n (n + 1) / 2.
            skew = written(total if "cross" in law.axis_kinds else sp.cancel(total * (width - 1) / (width + 1)))
        if all(r.count == r.independent for r in rows):
            return Formulas(written(total), "", skew)
        independent = fit(self.widths, [(r.sizes, r.independent) for r in rows])
        if independent is not None:
            return Formulas(written(total), written(independent), skew)
        return Formulas(written(total), self._by_rank(where, law.name, rows, total, width), skew)

    def _polynomial(self, what: str, values: Mapping[tuple[int, ...], int]) -> sp.Expr:
        found = fit(self.widths, [(dict(zip(self.widths, k, strict=True)), v) for k, v in values.items()])
        if found is None:
            raise ValueError(f"{what} are no polynomial of degree 3 in {', '.join(self.widths)}")
        return found

    def _by_rank(self, where: str, name: str, rows: list[_Observation], total: sp.Expr, n: sp.Expr) -> str:
        """`copies rank (2 n + 1 - rank) / 2`, `rank = min(n, v)`: full matrices on a wire that `v` vectors span.

        `v` is read off sizes at which it is below `n`.
        """
        copies = sp.cancel(total / (n * (n + 1) / 2))
        wide = {str(s) for s in n.free_symbols}
        others = [w for w in self.widths if w not in wide]
        chooser = random.Random(1)
        low = lowest(self.setting)
        for _ in range(3 * (len(monomials(others)) + CHECKS)):
            drawn = {w: low[w] + chooser.randrange(SPAN) + (WIDE if w in wide else 0) for w in self.widths}
            rows = [*rows, self.see(name, drawn)]
        ranks = []
        for r in rows:
            size, blocks = evaluate(n, r.sizes), evaluate(copies, r.sizes)
            fits = [k for k in range(size + 1) if blocks * k * (2 * size + 1 - k) == 2 * r.independent]
            if not fits:
                raise ValueError(f"{where}: {r.independent} independent laws at {r.sizes}, which no rank explains")
            ranks.append((r.sizes, size, fits[0]))
        v = fit(others, [(sizes, rank) for sizes, size, rank in ranks if rank < size])
        if v is None or any(min(size, evaluate(v, sizes)) != rank for sizes, size, rank in ranks):
            raise ValueError(f"{where}: the independent counts follow no formula that the generator knows")
        factor = "" if copies == 1 else f"{written(copies)} "
        return f"{factor}rank ({written(2 * n + 1)} - rank) / 2 with rank = min({written(n)}, {written(v)})"


def count_formulas(setting: Setting, laws: LawSet) -> dict[str, Formulas]:
    """The formulas of every law by name.

    Raises:
        ValueError: for a law whose counts are no polynomial of the widths, or that some sizes do not have.
    """
    family = _Family(setting)
    return {law.name: family.formulas(law) for law in laws}


def lowest(setting: Setting) -> Sizes:
    """The smallest widths that are sampled."""
    return {w: 40 if w in setting.ample else setting.least.get(w, 2) for w in setting.sizes}


def sample_sizes(setting: Setting) -> list[Sizes]:
    """Sizes that determine a polynomial in the widths, and more to check it; always the same ones."""
    chooser = random.Random(0)
    widths = list(setting.sizes)
    wanted = len(monomials(widths)) + CHECKS
    low = lowest(setting)
    span = 4
    while (span + 1) ** len(widths) < 2 * wanted:
        span += 1
    ranges = [range(low[w], low[w] + span + 1) for w in widths]
    every = list(itertools.product(*ranges)) if len(widths) < 3 else None
    if every:
        chosen = chooser.sample(every, min(wanted + CHECKS, len(every)))
    else:
        chosen = list({tuple(chooser.choice(r) for r in ranges): None for _ in range(4 * wanted)})[: wanted + CHECKS]
    own = tuple(setting.sizes[w] for w in widths)
    points = chosen if setting.ample else [own, *(c for c in chosen if c != own), *_extremes(widths, low)]
    return [dict(zip(widths, c, strict=True)) for c in points]


def _extremes(widths: list[str], low: Mapping[str, int]) -> list[tuple[int, ...]]:
    """One width far above all others: there a full matrix has fewer independent entries than entries."""
    return [tuple(WIDE + low[w] if w == wide else low[w] for w in widths) for wide in widths]


def read_formula(formula: str, sizes: Mapping[str, int]) -> int:
    """A formula of the catalog as a number: a factor stands beside another, `with rank = min(a, b)` at the end.

    Raises:
        ValueError: for what is no formula in these widths.
    """
    formula, _, rank = formula.partition(" with rank = ")
    names = dict(sizes)
    if rank:
        low, high = rank.removeprefix("min(").removesuffix(")").split(", ")
        names["rank"] = min(read_formula(low, sizes), read_formula(high, sizes))
    value = _Reader(formula, names).whole()
    if value.q != 1:
        raise ValueError(f"{formula!r} is {value} at {names}, no whole number")
    return int(value)


class _Reader:
    """Reads sums, products by a space, `/`, `^` and parentheses; foreign text is never evaluated."""

    def __init__(self, formula: str, names: Mapping[str, int]) -> None:
        self.formula, self.names = formula, names
        self.rest = re.findall(r"\d+|[A-Za-z_]\w*|[()+\-/^]|\S", formula)

    def whole(self) -> sp.Rational:
        value = self._sum()
        if self.rest:
            raise ValueError(f"cannot read {self.formula!r} at {self.rest[0]!r}")
        return value

    def _sum(self) -> sp.Rational:
        sign = -1 if self._take("-") else 1
        value = sign * self._product()
        while self.rest and self.rest[0] in "+-":
            value += self._product() if self.rest.pop(0) == "+" else -self._product()
        return value

    def _product(self) -> sp.Rational:
        value = self._power()
        while self.rest and self.rest[0] not in "+-)":
            value = value / self._power() if self._take("/") else value * self._power()
        return value

    def _power(self) -> sp.Rational:
        value = self._atom()
        return value ** self._atom() if self._take("^") else value

    def _atom(self) -> sp.Rational:
        if not self.rest:
            raise ValueError(f"{self.formula!r} ends too early")
        token = self.rest.pop(0)
        if token == "(":
            value = self._sum()
            if not self._take(")"):
                raise ValueError(f"{self.formula!r} has a parenthesis that is not closed")
            return value
        if token.isdigit():
            return sp.Integer(token)
        if token not in self.names:
            raise ValueError(f"{self.formula!r} has {token!r}; there are {', '.join(self.names)}")
        return sp.Integer(self.names[token])

    def _take(self, token: str) -> bool:
        if self.rest and self.rest[0] == token:
            self.rest.pop(0)
            return True
        return False
