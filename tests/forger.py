"""A forger of certificates who knows the checker: what it writes is signed, consistent, and false.

Every kind of forgery takes a random generator and gives the content of a file that says something false about the
network that it names.  `write` does what an honest prover does with whatever polynomials it is given: prime and point
of the rank follow from the statement (or are chosen, for a forger who tried until they were the wanted ones), minors
and determinants are right, the claim is what these minors say.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import torch
from networks import mlp

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.exact import Polynomial, potential_of
from lawful.theory.oracle.exact import checker
from lawful.theory.oracle.exact.conserved import laws_program
from lawful.theory.oracle.exact.counting import Fields
from lawful.theory.oracle.exact.jets import Differentiator
from lawful.theory.oracle.exact.lowering import program_of
from lawful.theory.oracle.exact.program import Program, Step
from lawful.theory.oracle.exact.residues import PRIMES, determinant, drawn, minor

Content = dict[str, Any]
Random = random.Random
Draw = Callable[[Any], tuple[int, str]]


@dataclass(frozen=True)
class Base:
    """A network, its polynomial, its laws, and what is true of it."""

    arch: lw.Architecture
    loss: str
    found: Polynomial
    potential: Program
    laws: Program
    honest: Content

    @property
    def head(self) -> tuple[Any, Any, str]:
        """What a file says that it is about."""
        return self.honest["network"], self.honest["names"], self.honest["loss"]


NETWORKS: dict[str, Callable[[], tuple[lw.Architecture, str]]] = {
    "relu": lambda: (mlp(2, 3, 2, act=b.ReLU(0.25), bias=True), "mse"),
    "linear": lambda: (mlp(2, 2, 2), "mse"),
    "deep": lambda: (mlp(2, 3, 2, 2, act=b.ReLU()), "mse"),
    "classes": lambda: (mlp(2, 3, 3, act=b.ReLU()), "cross_entropy"),
    "frozen": lambda: (mlp(2, 3, 2, 2, act=b.ReLU()).freeze("fc1"), "mse"),
    "shared": lambda: (
        lw.Architecture(b.Linear(2, 3) >> b.parallel(b.ReLU() >> b.Linear(3, 2), b.Abs() >> b.Linear(3, 2))),
        "mse",
    ),
}


@cache
def base(name: str) -> Base:
    arch, loss = NETWORKS[name]()
    found, honest = potential_of(arch, loss), lw.certificate(arch, loss).content
    laws = laws_program([law for law in lw.derive(arch, loss) if law.exact], found.parameters)
    return Base(arch, loss, found, found.program, laws, json.loads(json.dumps(honest)))


def any_base(rng: Random) -> Base:
    return base(rng.choice(list(NETWORKS)))


def signed(content: Mapping[str, Any]) -> Content:
    """With the digest of what it holds."""
    rest = {k: v for k, v in content.items() if k != "digest"}
    return rest | {"digest": checker.digest(rest)}


def write(
    head: tuple[Any, Any, str],
    potential: Program,
    laws: Program | None,
    draw: Draw = checker.drawn_from,
    at_most: int | None = None,
) -> Content:
    """A certificate for any polynomials, with as many brackets as leave room for its laws."""
    network, names, loss = head
    statement = {
        "network": network,
        "names": names,
        "loss": loss,
        "potential": potential.to_data(),
        "laws": laws and laws.to_data(),
        "attempt": 0,
    }
    prime, seed = draw(statement)
    independent = gradients(laws, prime, seed) if laws else None
    at_least = len(independent["rows"]) if independent else 0
    room = potential.size - max(at_least, at_most or 0)
    fields, labels, rows = Fields(potential, prime, seed), [], np.zeros((0, potential.size), dtype=np.int64)
    for level in range(3):
        rows = np.concatenate([rows, fields.brackets(level, potential.size + 8)])
        labels += [[level, i] for i in range(potential.size + 8)]
        chosen, columns = minor(rows, prime)
        rows, labels = rows[chosen], [labels[i] for i in chosen]
    rows, labels = rows[:room], labels[:room]
    _, columns = minor(rows, prime)
    claim = {"parameters": potential.size, "at_least": at_least, "at_most": potential.size - len(labels)}
    rank = {"rows": labels, "columns": columns, "determinant": determinant(rows[:, columns], prime)}
    parts = {"format": checker.FORMAT, "claim": claim, "prime": prime, "rank": rank, "independent": independent}
    return signed(statement | parts)


def gradients(laws: Program, prime: int, seed: str) -> dict[str, Any]:
    """The largest minor of the gradients of some laws."""
    (count,) = laws.data["weights"]
    theta = drawn(seed, "theta", (1, laws.size), prime)
    frozen = {n: drawn(seed, f"frozen/{n}", (1, *s), prime) for n, s in laws.frozen.items()}
    one = {"weights": np.eye(count, dtype=np.int64)} | frozen
    found = np.broadcast_to(Differentiator(laws, prime).gradient({0: theta}, one)[0], (count, laws.size))
    rows, columns = minor(found, prime)
    return {"rows": rows, "columns": columns, "determinant": determinant(found[np.ix_(rows, columns)], prime)}


def potential_with(of: Base, term: Callable[[dict, dict], torch.Tensor], tiny: float) -> Program:
    """The potential of a network and a tiny term of parameters and data."""

    def function(params: Any, data: Any, chosen: Any) -> torch.Tensor:
        return of.found.function(params, data, chosen) + tiny * term(params, data)

    f = of.found
    return program_of(function, f.parameters, f.data, f.choices, f.frozen, f.realised)


def laws_with(of: Base, more: Callable[[dict], torch.Tensor]) -> Program:
    """The laws of a network and one that is none."""
    true = [law for law in lw.derive(of.arch, of.loss) if law.exact]
    count = sum(law.value(of.found.parameters).numel() for law in true)

    def function(params: Any, data: Any, chosen: Any) -> torch.Tensor:
        weights, at, total = data["weights"], 0, more(params) * data["weights"][count]
        for law in true:
            value = law.value(params).reshape(-1)
            total = total + (value * weights[at : at + value.numel()]).sum()
            at += value.numel()
        return total

    return program_of(function, of.found.parameters, {"weights": torch.ones(count + 1, dtype=torch.float64)}, {})


def powered(x: torch.Tensor, exponent: int) -> torch.Tensor:
    """`x^exponent`, by squaring."""
    out = None
    while exponent:
        if exponent & 1:
            out = x if out is None else out * x
        x, exponent = x * x, exponent >> 1
    return out


def some(params: Mapping[str, torch.Tensor], rng: Random) -> torch.Tensor:
    """One scalar parameter."""
    values = params[rng.choice(sorted(params))].reshape(-1)
    return values[rng.randrange(len(values))]


def edited(of: Base, change: Callable[[Content], object]) -> Content:
    """An honest file in which something was changed, signed anew."""
    content = copy.deepcopy(of.honest)
    change(content)
    return signed(content)


def false_law(of: Base, by: Fraction, rng: Random) -> Program:
    """The laws with one coefficient that is a little wrong."""
    laws = [law for law in lw.derive(of.arch, of.loss) if law.exact]
    at = rng.choice([i for i, law in enumerate(laws) if len(law.terms) > 1])  # a multiple of a law is one
    first, *rest = laws[at].terms
    laws[at] = replace(laws[at], terms=(replace(first, coefficient=first.coefficient + by), *rest))
    return laws_program(laws, of.found.parameters)


def program(data: Any) -> Program:
    """A program from what `to_data` wrote."""
    steps = tuple(
        Step(
            s["kind"],
            tuple(s.get("inputs", ())),
            tuple(s["shape"]),
            s.get("name", ""),
            np.array(s["index"], dtype=np.int64).reshape(s["shape"]) if "index" in s else None,
            np.array(s["table"], dtype=np.float64) if "table" in s else None,
            tuple(map(Fraction, s.get("factors", ()))),
        )
        for s in data["steps"]
    )
    shapes = ({n: tuple(s) for n, s in data[k].items()} for k in ("parameters", "data"))
    choices = {n: (tuple(s), k) for n, (s, k) in data["choices"].items()}
    frozen = {n: tuple(s) for n, s in data["frozen"].items()}
    realised = {n: np.array(t, dtype=np.int64) for n, t in data["realised"].items()}
    return Program(*shapes, choices, steps, frozen, realised)


def chosen_prime(prime: int, seed: str) -> Draw:
    """What a forger draws who tried until prime and seed were these."""
    return lambda statement: (prime, seed)


__all__ = [
    "PRIMES",
    "Base",
    "Content",
    "Random",
    "any_base",
    "base",
    "chosen_prime",
    "edited",
    "false_law",
    "laws_with",
    "potential_with",
    "powered",
    "program",
    "signed",
    "some",
    "write",
]
