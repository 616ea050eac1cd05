"""Zhao et al. 2023: quantities of tanh and sigmoid networks on whitened data, and teleportation along a symmetry."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import functional_call, grad

from lawful.graph import families
from lawful.symmetry.symmetries import symmetries

from . import data
from .figure import BLUE, COLOURS, RED
from .paper import Claim, Paper, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

SEEDS = (0, 1, 2, 3, 4)
Curve = Callable[[Tensor], Tensor]
# An activation σ, and the integral of σ / σ' with which its quantity is made.
CURVES: dict[str, tuple[Curve, Curve]] = {
    "tanh": (torch.tanh, lambda z: torch.sinh(z).square() / 2),
    "sigmoid": (torch.sigmoid, lambda z: z + torch.exp(z)),
}


def whitened(examples: int) -> Tensor:
    """Digits of scikit-learn in their 8 largest principal directions, `(8, examples)`: `X Xᵀ = I`, or `Xᵀ X = I`."""
    x, _ = data.digits()
    rows = x[:examples].flatten(1)
    rows = rows - rows.mean(0)
    _, _, directions = torch.linalg.svd(data.digits()[0].flatten(1), full_matrices=False)
    u, _, v = torch.linalg.svd((rows @ directions[1:9].T).T, full_matrices=False)
    return u @ v


def _quantities(quick: bool) -> Units:
    time, steps = (5.0, 500) if quick else (20.0, 4000)

    def one(name: str, examples: int) -> Plain:
        curve, integral = CURVES[name]
        x = whitened(examples)
        draw = torch.Generator().manual_seed(0)
        u, v = (torch.randn(shape, generator=draw, dtype=torch.float64) / 2 for shape in ((3, 4), (4, 8)))
        y = torch.nn.functional.one_hot(data.digits()[1][:examples] % 3, 3).double().T
        y = y / y.norm()

        def loss(at: tuple[Tensor, Tensor]) -> Tensor:
            return (at[0] @ curve(at[1] @ x) - y).square().sum() / 2

        def quantity(at: tuple[Tensor, Tensor]) -> Tensor:
            # Read through V X where XᵀX = I; by the same letters where there are more examples than features.
            return at[0].square().sum(0) / 2 - integral(at[1] @ x).sum(1)

        def rate(at: tuple[Tensor, Tensor]) -> float:
            """The derivative along the flow over the sizes of its two parts, the largest of all hidden units."""
            slope = grad(loss)(at)
            two = [torch.func.jvp(quantity, (at,), (part,))[1] for part in ((slope[0], 0 * v), (0 * u, slope[1]))]
            return float((two[0] + two[1]).abs().max() / (two[0].abs() + two[1].abs()).max())

        at, dt, line = (u, v), time / steps, []
        slow = rate(at)
        first = quantity(at)
        slope = grad(loss)
        for k in range(steps):
            k1 = slope(at)
            k2 = slope((at[0] - dt / 2 * k1[0], at[1] - dt / 2 * k1[1]))
            k3 = slope((at[0] - dt / 2 * k2[0], at[1] - dt / 2 * k2[1]))
            k4 = slope((at[0] - dt * k3[0], at[1] - dt * k3[1]))
            at = tuple(p - dt / 6 * (a + 2 * b + 2 * c + d) for p, a, b, c, d in zip(at, k1, k2, k3, k4, strict=True))
            if (k + 1) % (steps // 50) == 0:
                line.append([dt * (k + 1), float((quantity(at) - first).norm() / first.norm())])
        return {"line": line, "rate": slow, "loss": [float(loss((u, v))), float(loss(at))]}

    return {f"{name}, {n} examples": partial(one, name, n) for name in CURVES for n in (8, 64)}


def _quantities_report(results: Results) -> Report:
    claims = []
    for name in CURVES:
        square, wide = (results[f"{name}, {n} examples"] for n in (8, 64))
        kept = max(x for _, x in square["line"])
        lost = wide["line"][-1][1]
        shape = "½ sinh²" if name == "tanh" else "z + e^z"
        good = kept < 1e-8 and square["rate"] < 1e-12
        claims.append(
            Claim(
                name,
                f"½ ‖u_k‖² - Σ_j F((V X)_kj) with F' = σ/σ' ({shape} for {name}) is conserved where XᵀX = I",
                verdict(good),
                f"8 features, 8 examples: it moves at {square['rate']:.0e} of its parts, by {kept:.0e} of its size in "
                f"all. With 64 examples (X Xᵀ = I only) it moves at {wide['rate']:.1e} of its parts, by {lost:.1e} of "
                "its size: whitened data are enough only where no more examples than features are left.",
                "" if good else f"8 examples: {kept:.1e}",
            )
        )
    return Report({f"change, {n}": found["line"][-1][1] for n, found in results.items()}, claims)


def _quantities_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (name, found), colour in zip(results.items(), COLOURS, strict=False):
        time, change = zip(*found["line"], strict=True)
        ax.semilogy(time, [max(c, 1e-17) for c in change], color=colour, label=name)
    ax.set(xlabel="time", ylabel="relative change of the quantity")
    ax.legend(loc="center right")


def _teleport(quick: bool) -> Units:
    steps, many = (100, 200) if quick else (400, 1000)

    def one(seed: int) -> Plain:
        arch = families.mlp([64, 16, 10], "relu")
        x, y = data.digits()
        x, y = x[:many].flatten(1), y[:many]
        module = arch.to_torch(torch.float64, seed)
        (symmetry,) = symmetries(arch).where(group="positive diagonal")
        start = {n: p.detach() for n, p in module.named_parameters()}

        def loss(at: dict[str, Tensor]) -> Tensor:
            return torch.nn.functional.cross_entropy(functional_call(module, at, (x,)), y)

        def steepness(at: dict[str, Tensor]) -> float:
            return float(sum(g.square().sum() for g in grad(loss)(at).values())) ** 0.5

        # Along the group both parts of the squared gradient scale: |g_in|² e^(-2s) + |g_out|² e^(2s) for every unit.
        # Teleport by one size for all units, the better of two directions.
        moved = [symmetry.apply(start, symmetry.exp(torch.full(symmetry.shape, s))) for s in (-0.7, 0.7)]
        there = max(moved, key=steepness)
        lines = []
        for at in (start, there):
            line = [float(loss(at))]
            for _ in range(steps):
                slope = grad(loss)(at)
                at = {n: p - 0.02 * slope[n] for n, p in at.items()}
                line.append(float(loss(at)))
            lines.append(line)
        ends = [steepness(start), steepness(there)]
        return {"loss": lines, "steepness": ends, "holds": str(symmetry.verify().verdict)}

    return {f"seed {s}": partial(one, s) for s in SEEDS}


def _teleport_report(results: Results) -> Report:
    runs = list(results.values())
    same = max(abs(r["loss"][1][0] / r["loss"][0][0] - 1) for r in runs)
    steeper = [r["steepness"][1] / r["steepness"][0] for r in runs]
    first = [r["loss"][1][1] < r["loss"][0][1] for r in runs]
    last = [r["loss"][1][-1] < r["loss"][0][-1] for r in runs]
    ends = [r["loss"][1][-1] / r["loss"][0][-1] for r in runs]
    held = all(r["holds"] == "holds" for r in runs)
    told = f"{sum(first)} of {len(runs)} seeds after one step, {sum(last)} at the end, where the loss is "
    told += f"{min(ends):.2f} to {max(ends):.2f} of that without."
    rows = (
        ("loss", "teleportation along a symmetry leaves the loss", same < 1e-12 and held, f"It changes by {same:.0e}."),
        (
            "gradient",
            "teleportation makes the gradient longer",
            min(steeper) > 1.05,
            f"{min(steeper):.2f} to {max(steeper):.2f} times as long over {len(runs)} seeds.",
        ),
        ("descent", "descent is faster after teleportation", all(first) and all(last), f"Faster with {told}"),
    )
    return Report(
        {
            "gradient after teleportation over before": sum(steeper) / len(runs),
            "loss at the end over without": max(ends),
        },
        [Claim(n, t, verdict(good), e, "" if good else e) for n, t, good, e in rows],
    )


def _teleport_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for i, found in enumerate(results.values()):
        for line, colour, label in zip(found["loss"], (BLUE, RED), ("as it starts", "teleported"), strict=True):
            ax.semilogy(line, color=colour, lw=1, label=label if i == 0 else None)
    ax.set(xlabel="step", ylabel="loss (five seeds)")
    ax.legend()


PAPER = Paper(
    "zhao2023",
    "Symmetries, flat minima, and the conserved quantities of gradient flow",
    (
        Part(
            "quantities",
            "tanh and sigmoid on whitened data",
            "Two layers of 4 hidden units on digits of scikit-learn in 8 whitened directions, squared loss, the "
            "gradient flow by Runge-Kutta; with 8 examples (XᵀX = I) and with 64 (X Xᵀ = I only).",
            (0,),
            _quantities,
            _quantities_report,
            _quantities_draw,
        ),
        Part(
            "teleport",
            "Teleportation",
            "A ReLU network 64-16-10 on digits of scikit-learn (1000, in the quick run 200), cross-entropy, full "
            "gradients at the rate 0.02. The symmetry is that of lawful.symmetries: all hidden units by e^0.7 or "
            "e^-0.7, whichever gives the longer gradient.",
            SEEDS,
            _teleport,
            _teleport_report,
            _teleport_draw,
        ),
    ),
)
