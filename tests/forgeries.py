"""Kinds of forged certificates, by name: each takes a random generator and gives a file that says something false."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from forger import (
    PRIMES,
    Content,
    Random,
    any_base,
    base,
    chosen_prime,
    edited,
    false_law,
    laws_with,
    potential_with,
    powered,
    program,
    some,
    write,
)
from networks import mlp

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.exact import potential_of
from lawful.theory.oracle.exact.conserved import laws_program

LINEAR = ("linear", "relu", "deep", "classes")


def powers(rng: Random) -> Content:
    """Entry-wise powers: `<u, J u^p> - <v, v^p J>`, whose derivative vanishes modulo p."""
    of, p = base("linear"), rng.choice([*PRIMES, 3, 5, 1073741827])
    a, c = sorted(of.found.parameters)
    laws = laws_with(of, lambda t: (t[a] * powered(t[a], p)).sum() - (t[c] * powered(t[c], p)).sum())
    return write(of.head, of.potential, laws)


def powers_alone(rng: Random) -> Content:
    """`x^q` for one parameter, which is no law: its gradient is zero modulo q only."""
    of, q = base(rng.choice(LINEAR)), rng.choice([2, 3, 7, *PRIMES, PRIMES[0] * PRIMES[1]])
    return write(of.head, of.potential, laws_with(of, lambda t: powered(some(t, Random(1)), q)))


def multiples_of_primes(rng: Random) -> Content:
    """A multiple of many primes times a parameter: zero modulo each of them."""
    of, primes = base(rng.choice(LINEAR)), rng.sample(PRIMES, rng.randint(1, len(PRIMES)))

    def law(t: Any) -> torch.Tensor:
        x = some(t, Random(4))
        for p in primes:
            x = x * float(p)
        return x

    return write(of.head, of.potential, laws_with(of, law))


def small_errors(rng: Random) -> Content:
    """A coefficient that is wrong by next to nothing, or next to nothing of a parameter."""
    of = base(rng.choice(LINEAR))
    if rng.random() < 0.5:
        by = rng.choice([Fraction(1, 3**20), Fraction(1, 2**50), Fraction(-rng.randint(1, 9), 10**12)])
        return write(of.head, of.potential, false_law(of, by, rng))
    tiny = rng.choice([1e-12, 1e-30, 1e-300, 5e-324])
    return write(of.head, of.potential, laws_with(of, lambda t: tiny * some(t, Random(5))))


def terms_that_are_tiny(rng: Random) -> Content:
    """A potential with 1e-12 <theta, data> more has no law."""
    of, tiny = any_base(rng), rng.choice([1e-12, 1e-30, 1e-300, 2.0**-1000, -1e-15])
    name = sorted(n for n in of.found.data if n.startswith("x"))[0]

    def term(params: Any, data: Any) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for k, p in enumerate(params.values()):
            x = data[name].reshape(-1)
            total = total + sum(p.reshape(-1)[i] * powered(x[(i + k) % len(x)], 1 + i) for i in range(p.numel()))
        return total

    return write(of.head, potential_with(of, term, tiny), None)


def terms_of_order_p(rng: Random) -> Content:
    """A potential with `x^p - x` more, which is zero at all points modulo p."""
    of, p = base(rng.choice(LINEAR)), rng.choice([PRIMES[0], 3, 101])

    def term(params: Any, data: Any) -> torch.Tensor:
        one, x = some(params, Random(2)), data["x0"].reshape(-1)[0]
        return x * (powered(one, p) - one)

    return write(of.head, potential_with(of, term, 1.0), None)


OTHERS: tuple[Callable[[], lw.Architecture], ...] = (
    lambda: mlp(2, 3, 2, act=b.ReLU(), bias=True),
    lambda: mlp(2, 3, 2, act=b.Abs(), bias=True),
    lambda: mlp(2, 3, 2, act=b.Power(2), bias=True),
    lambda: mlp(2, 3, 2, act=b.ReLU(0.25, 2), bias=True),
    lambda: mlp(2, 3, 2, bias=True),
    lambda: mlp(2, 3, 2, act=b.ReLU(0.25 + 2**-40), bias=True),
    lambda: mlp(2, 4, 2, act=b.ReLU(0.25), bias=True),
    lambda: mlp(3, 3, 2, act=b.ReLU(0.25), bias=True),
)


def other_networks(rng: Random) -> Content:
    """A valid proof about another network."""
    other, of = rng.choice(OTHERS)(), base("relu")
    found = potential_of(other)
    laws = laws_program(list(lw.derive(other)), found.parameters)
    return write(of.head, found.program, laws)


def another_name(rng: Random) -> Content:
    """A valid proof that names another network, or other parameters, or another loss."""
    of, other = base("relu"), base(rng.choice(["linear", "deep", "classes", "frozen", "shared"]))
    network, names, loss = of.head
    head = rng.choice(
        [(other.head[0], other.head[1], loss), (network, other.head[1], loss), (network, names, "cross_entropy")]
    )
    return write(head, of.potential, of.laws)


def swapped_gates(rng: Random) -> Content:
    """Other numbers for the sides of an activation, in a network that has these gates."""
    of = base(rng.choice(["relu", "deep", "classes", "shared"]))
    data = of.potential.to_data()
    pick = rng.choice([s for s in data["steps"] if s["kind"] == "pick"])
    what = rng.randrange(3)
    if what == 0:
        pick["table"] = pick["table"][::-1]
    elif what == 1:
        pick["table"][0] = json.loads(json.dumps(pick["table"][1]))
    else:
        pick["index"] = pick["index"][::-1]
    return write(of.head, program(data), None)


def no_patterns(rng: Random) -> Content:
    """Patterns that are said to be all that the network has: all gates closed, all open, or one pattern."""
    of = base(rng.choice(["relu", "deep", "classes", "shared"]))
    data = of.potential.to_data()
    for name, table in data["realised"].items():
        fill = rng.choice([0, 1, None])
        same = json.loads(json.dumps(table[0])) if fill is None else [fill] * len(table[0])
        data["realised"][name] = [same] * rng.choice([1, len(table)])
    if rng.random() < 0.3:
        data["realised"] = {}  # free gates, which is more than a network has
    return write(of.head, program(data), None, at_most=of.potential.size)


def frozen_as_something_else(rng: Random) -> Content:
    """Frozen numbers as data that are drawn anew, as parameters, or parameters as frozen numbers."""
    of = base(rng.choice(["frozen", "relu"]))
    data, kind = of.potential.to_data(), rng.choice(["data", "parameter"])
    names, now = (data["frozen"], kind) if of is base("frozen") else (data["parameters"], "frozen")
    chosen = rng.sample(sorted(names), rng.randint(1, len(names) - 1 or 1))
    place = {"data": "data", "parameter": "parameters", "frozen": "frozen"}[now]
    for name in chosen:
        data[place][name] = names.pop(name)
        for step in data["steps"]:
            if step.get("name") == name:
                step["kind"] = now
    return write(of.head, program(data), None)


def chosen_primes(rng: Random) -> Content:
    """Prime and point that the file chooses; the checker follows the statement."""
    of, p = any_base(rng), rng.choice([5, 101, 65537, 1073741827, *PRIMES])
    return write(of.head, of.potential, of.laws, chosen_prime(p, str(rng.random())))


def changed_digests(rng: Random) -> Content:
    """One digit of the file is another."""
    of = any_base(rng)
    text = json.dumps(of.honest)
    while True:
        at = rng.randrange(len(text))
        if text[at].isdigit():
            changed = text[:at] + str((int(text[at]) + rng.randint(1, 9)) % 10) + text[at + 1 :]
            try:
                content = json.loads(changed)
            except ValueError:
                continue
            if content != of.honest:
                return content


def false_claims(rng: Random) -> Content:
    """Numbers that were not proved."""
    of, by = any_base(rng), rng.randint(1, 3)
    name, sign = rng.choice([("at_least", 1), ("at_most", -1), ("parameters", 1), ("parameters", -1)])
    return edited(of, lambda c: c["claim"].update({name: c["claim"][name] + sign * by}))


def repeated_rows(rng: Random) -> Content:
    """A bracket or a law counted twice."""
    of, part = any_base(rng), rng.choice(["rank", "independent"])
    part = part if of.honest[part] and len(of.honest[part]["rows"]) > 1 else "rank"

    def change(content: Content) -> None:
        rows = content[part]["rows"]
        a, c = rng.sample(range(len(rows)), 2)
        rows[a] = rng.choice([rows[c], [*rows[c], 0] if part == "rank" else float(rows[c])])

    return edited(of, change)


def wrong_minors(rng: Random) -> Content:
    """Other columns, another determinant, brackets that are not there."""
    of, part = any_base(rng), rng.choice(["rank", "independent"])
    part = part if of.honest[part] else "rank"

    def change(content: Content) -> None:
        own, what = content[part], rng.randrange(4)
        if what == 0:
            own["determinant"] = rng.choice([0, 1, own["determinant"] + 1])
        elif what == 1:
            own["columns"] = [*own["columns"][1:], own["columns"][-1] if own["columns"][1:] else -1]
        elif what == 2:
            own["rows"], own["columns"] = own["rows"][1:], own["columns"][1:]
        else:
            own["rows"][0] = rng.choice([[7, 0], [0, -1], [0, 10**12], [-1, 0]]) if part == "rank" else 10**9

    return edited(of, change)


def steps_across_samples(rng: Random) -> Content:
    """Shapes that let one sample read another, or that have no size."""
    of = any_base(rng)

    def change(content: Content) -> None:
        text = content[rng.choice(["potential", "laws"])] or content["potential"]
        step = rng.choice(text["steps"])
        if rng.random() < 0.5 and step["shape"]:
            step["shape"] = rng.choice([step["shape"][1:], [-n for n in step["shape"]], [1, *step["shape"]], [0]])
        else:
            step["kind"] = rng.choice([k for k in ("total", "matmul", "multiply", "take", "exec") if k != step["kind"]])

    return edited(of, change)


def laws_of_something_else(rng: Random) -> Content:
    """Laws that read data, or that are laws of another network with the same parameters."""
    of, what = base("relu"), rng.randrange(2)
    if what:
        other = mlp(2, 3, 2, bias=True)
        return write(of.head, of.potential, laws_program(list(lw.derive(other)), of.found.parameters))
    return edited(of, lambda c: c["laws"]["data"].update(x0=[3, 2]))


def huge_polynomials(rng: Random) -> Content:
    """Degrees or coefficients so large that arithmetic modulo primes says nothing."""
    of, n, factor = base("linear"), rng.randint(28, 60), rng.choice([None, 3.0, 1e300])

    def law(t: Any) -> torch.Tensor:
        x = some(t, Random(3))
        for _ in range(n):
            x = x * x if factor is None or rng.random() < 0.5 else x * x * factor
        return x

    return write(of.head, of.potential, laws_with(of, law))


KINDS: dict[str, Callable[[Random], Content]] = {
    f.__name__: f
    for f in (
        powers,
        powers_alone,
        multiples_of_primes,
        small_errors,
        terms_that_are_tiny,
        terms_of_order_p,
        other_networks,
        another_name,
        swapped_gates,
        no_patterns,
        frozen_as_something_else,
        chosen_primes,
        changed_digests,
        false_claims,
        repeated_rows,
        wrong_minors,
        steps_across_samples,
        laws_of_something_else,
        huge_polynomials,
    )
}
