"""Gradient fields and conserved surfaces of losses of two parameters: figures 2 and 3."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..figure import BLUE, GREY, RED
from ..paper import Part, Plain, Report, Results, Units, judged

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


def _logits(x: Tensor) -> Tensor:
    return x.logsumexp(0) - 0.7 * x[0] - 0.3 * x[1]


def _direction(x: Tensor) -> Tensor:
    return -(0.6 * x[0] + 0.8 * x[1]) / x.norm()


def _product(x: Tensor) -> Tensor:
    return (x[0] * x[1] - 1).square() / 2


SYMMETRIES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    # the loss, the direction of its symmetry, the law
    "translation": (_logits, torch.ones_like, lambda x: x[0] + x[1]),
    "scale": (_direction, lambda x: x, lambda x: x[0] ** 2 + x[1] ** 2),
    "rescale": (_product, lambda x: x * x.new_tensor([1.0, -1.0]), lambda x: x[0] ** 2 - x[1] ** 2),
}


STARTS = ((-1.5, 1.0), (1.6, -0.3), (0.4, 1.8))


def _surfaces(quick: bool) -> Units:
    from scipy.integrate import solve_ivp  # comes with scikit-learn

    def one(name: str) -> Plain:
        loss, generator, law = SYMMETRIES[name]
        slope = torch.func.grad(loss)
        axis = torch.linspace(-2, 2, 12, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis)
        field = torch.stack([-slope(x) for x in grid])
        turned = torch.stack([generator(x) for x in grid])
        cosine = (field * turned).sum(1) / (field.norm(dim=1) * turned.norm(dim=1))
        flows, runs, moved, changes = [], [], 0.0, []
        for start in STARTS:
            x = torch.tensor(start, dtype=torch.float64)
            found = solve_ivp(
                lambda _, p: -slope(torch.tensor(p)).numpy(), (0, 12), start, "DOP853", rtol=1e-11, atol=1e-12
            )
            path = torch.tensor(found.y)
            moved = max(moved, float((law(path) - law(path[:, 0])).abs().max()))
            points = [x]
            for _ in range(40):
                points.append(points[-1] - 0.3 * slope(points[-1]))
            steps = torch.stack(points, 1)
            changes.append([float(c) for c in law(steps).diff()])
            flows.append(path.tolist())
            runs.append(steps.tolist())
        return {
            "cosine": float(cosine.abs().max()),
            "moved": moved,
            "changes": [min(map(min, changes)), max(map(max, changes))],
            "field": [grid.T.tolist(), field.T.tolist()],
            "flows": flows,
            "runs": runs,
        }

    return {name: partial(one, name) for name in SYMMETRIES}


def _surfaces_report(results: Results) -> Report:
    cosine, moved = (max(found[k] for found in results.values()) for k in ("cosine", "moved"))
    plane, sphere = results["translation"]["changes"], results["scale"]["changes"]
    flat, outward = max(map(abs, plane)) < 1e-12, sphere[0] > -1e-12 < sphere[1]
    failing = max(results, key=lambda k: max(results[k]["cosine"], results[k]["moved"]))
    claims = [
        judged(
            "orthogonal",
            "the gradient is orthogonal to the directions of the symmetry",
            cosine < 1e-12,
            f"144 points of each loss: the largest cosine is {cosine:.0e}.",
            f"{failing}: {cosine:.1e}",
        ),
        judged(
            "surface",
            "gradient flow stays on planes (translation), spheres (scale) and hyperbolas (rescale)",
            moved < 1e-8,
            f"Three flows on each loss, integrated to 1e-11, move the law by {moved:.0e} at most.",
            f"{failing}: {moved:.1e}",
        ),
        judged(
            "steps",
            "steps of finite size stay on the plane and leave the sphere outward only",
            flat and outward,
            f"Gradient descent at η = 0.3: a step moves the sum by {max(map(abs, plane)):.0e} at most, the squared "
            f"norm by {sphere[0]:.1e} to {sphere[1]:.1e}.",
            f"changes in a step: plane {plane}, sphere {sphere}",
        ),
    ]
    return Report({"surface_left_by_flow": moved, "sphere_left_in_one_step": sphere[1]}, claims)


def _surfaces_draw(place: SubFigure, results: Results) -> None:
    axis = torch.linspace(-2.2, 2.2, 80, dtype=torch.float64)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    for ax, (name, found) in zip(place.subplots(1, 3), results.items(), strict=True):
        law = SYMMETRIES[name][2](torch.stack([x, y]))
        ax.contour(x, y, law, levels=8, colors=GREY, linewidths=0.6, linestyles=":")
        (px, py), (u, v) = (torch.tensor(a) for a in found["field"])
        length = (u**2 + v**2).sqrt().clamp(min=1e-9)
        ax.quiver(px, py, u / length, v / length, color="#b8c4d4", scale=26, width=0.005, angles="xy")
        for i, (flow, run) in enumerate(zip(found["flows"], found["runs"], strict=True)):
            ax.plot(*flow, color=BLUE, label="gradient flow" * (not i))
            ax.plot(*run, ".:", color=RED, ms=3, lw=0.8, label="steps, η = 0.3" * (not i))
        ax.set(xlabel="θ₁", ylabel="θ₂", xlim=(-2.2, 2.2), ylim=(-2.2, 2.2))
        ax.set_title(f"{name}: {('θ₁ + θ₂', 'θ₁² + θ₂²', 'θ₁² - θ₂²')[list(results).index(name)]}")
        if name == "translation":
            ax.legend(loc="upper right", fontsize=6.5, frameon=True)


PART = Part(
    "surfaces",
    "Gradient fields and conserved surfaces of two parameters",
    "Cross-entropy of two logits, a loss of the direction alone, a product; exact gradients.",
    (0,),
    _surfaces,
    _surfaces_report,
    _surfaces_draw,
    3.0,
)
