"""What `lawful catalog verify` runs for claims about other flows: counts by brute force, and steps of training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch.nn.functional import cross_entropy

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions import flows
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive

from .bibliography import cited
from .entry import Entry
from .store import by_id


def claim_failures(e: Entry) -> list[tuple[str, str]]:
    """What a claim says and its check does not: evidence exists and is certified, its own check gives what it says."""
    out = []
    for id in e.evidence:
        if id not in by_id():
            out.append((e.id, f"its evidence {id!r} is no entry"))
        elif by_id()[id].certificate is None:
            out.append((e.id, f"its evidence {id!r} has no certificate"))
    try:
        cited(e)
    except KeyError as error:
        out.append((e.id, f"its source {error.args[0]!r} is not in the bibliography"))
    if e.check:
        name = e.id.rpartition("/")[2]
        if name not in CHECKS:
            return [*out, (e.id, "there is no check of that name")]
        out += [
            (e.id, f"{what}: expected {wanted}, found {found}")
            for what, wanted, found in CHECKS[name]()
            if wanted != found
        ]
    return out


Rows = list[tuple[str, object, object]]  # what, as it should be, as it is


def _linear(*widths: int) -> Architecture:
    maps = [b.Linear(i, o, False) for i, o in pairwise(widths)]
    return Architecture(b.chain(**{f"m{k}": m for k, m in enumerate(maps)}))


def _relu(n: int, h: int, m: int) -> Architecture:
    return Architecture(b.chain(W=b.Linear(n, h, False), act=b.ReLU(), V=b.Linear(h, m, False)))


def _laws(arch: Architecture, flow: flows.Flow | None = None) -> int:
    return count(arch, flow=flow).laws if flow is not None else count(arch).laws


def _deep_linear() -> Rows:
    wanted = {(1, 2, 2, 1): 7, (1, 3, 3, 1): 14, (1, 2, 3, 1): 10}
    return [(f"laws of the widths {w}", n, _laws(_linear(*w))) for w, n in wanted.items()]


def _rank_count(n: int, r: int, m: int) -> int:
    rank = min(n + m, r)
    return rank * (2 * r + 1 - rank) // 2


def _lie_algebra() -> Rows:
    sizes = [(2, 3, 2), (3, 2, 4), (1, 3, 1)]
    return [(f"laws of the widths {s}", _rank_count(*s), _laws(_linear(*s))) for s in sizes]


def _weight_decay() -> Rows:
    flow = flows.WeightDecay(0.1)
    arch = _linear(3, 2, 4)
    found = flows.laws(arch, flow)
    return [
        ("laws under weight decay", _laws(arch), _laws(arch, flow)),
        ("verdict along the flow", "holds", str(flows.verify(arch, found).verdict)),
    ]


def _momentum_linear() -> Rows:
    out: Rows = []
    for n, r, m in [(2, 2, 2), (3, 2, 2), (2, 3, 2)]:
        rank = min(2 * (n + m), r)
        wanted = rank * (2 * r - rank - 1) // 2
        out.append(
            (f"laws of the widths {(n, r, m)} under momentum", wanted, _laws(_linear(n, r, m), flows.Momentum(0.5)))
        )
    return out


def _momentum_relu() -> Rows:
    return [("laws of two ReLU layers under momentum", 0, _laws(_relu(2, 2, 2), flows.Momentum(0.5)))]


def _nmf() -> Rows:
    flow = flows.Mirror({"*": "entropy"})
    return [
        (f"laws of the widths {s} under mirror flow", s[1], _laws(_linear(*s), flow)) for s in [(3, 2, 4), (2, 3, 2)]
    ]


def _sign_descent() -> Rows:
    flow = flows.SignDescent()
    return [
        ("laws of the widths (3, 2, 4) under sign descent", 0, _laws(_linear(3, 2, 4), flow)),
        ("laws of the widths (1, 1, 1) under sign descent", 1, _laws(_linear(1, 1, 1), flow)),
    ]


def _noise() -> Rows:
    arch = _linear(3, 2, 4)
    law = derive(arch)[0]
    theta = arch.random_parameters(torch.Generator().manual_seed(0))
    noise = flows.Noise.diagonal({name: torch.ones_like(p) for name, p in theta.items()})
    drift = flows.noise_drift(law, theta, noise, sigma=0.1)
    wanted = 2 * 0.1**2 * (3 - 4) * torch.eye(2, dtype=drift.dtype)  # 2 sigma^2 (inputs - outputs) on the diagonal
    return [("2 sigma^2 tr(Sigma A)", True, bool(torch.allclose(drift, wanted)))]


def _steps(arch: Architecture) -> Rows:
    """One step of SGD from a random point: the drift over the square of the step is one number."""
    law = derive(arch)[0]
    theta = arch.random_parameters(torch.Generator().manual_seed(0))
    leaves = {n: p.detach().clone().double().requires_grad_() for n, p in theta.items()}
    inputs = arch.random_inputs(5, torch.Generator().manual_seed(1))
    output = arch.forward(leaves, inputs)
    assert isinstance(output, torch.Tensor)
    output.square().sum().backward()
    start = law.value(leaves).detach()
    drifts = []
    for step in (1e-3, 2e-3, 4e-3):
        moved = {n: (p - step * p.grad).detach() for n, p in leaves.items() if p.grad is not None}
        drifts.append(((law.value(moved) - start) / step**2).norm())
    return [("the drift over the square of the step is one number", True, bool(max(drifts) / min(drifts) < 1 + 1e-4))]


Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of logits and classes


def _focal(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    each = cross_entropy(z, t, reduction="none")
    return ((1 - torch.exp(-each)) ** 2 * each).mean()


def _reduced(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return cross_entropy(z / 3, t, reduction="sum", ignore_index=1)


def _z_loss(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return cross_entropy(z, t) + 0.1 * z.logsumexp(1).square().mean()


def _classified(loss: Loss, sums: bool = True) -> Rows:
    """Which laws of classifiers a loss keeps, and how many directions its gradients on the logits span.

    Args:
        loss: the loss.
        sums: whether the linear laws, of the column sums of the last layer, have to stay.
    """
    classes = 3
    draw = torch.Generator().manual_seed(0)
    rows: Rows = []
    for hidden in (b.ReLU(), b.Identity()):
        arch = Architecture(b.chain(W=b.Linear(2, 4), act=hidden, V=b.Linear(4, classes)))
        leaves = {n: p.double().requires_grad_() for n, p in arch.random_parameters(draw).items()}
        inputs = arch.random_inputs(7, draw)
        output = arch.forward(leaves, inputs)
        assert isinstance(output, torch.Tensor)
        targets = torch.arange(7) % classes
        slopes = dict(zip(leaves, torch.autograd.grad(loss(output, targets), list(leaves.values())), strict=True))
        for law in derive(arch, "cross_entropy"):
            moves = torch.func.jvp(law.value, (leaves,), (slopes,))[1]
            stays = law.kind == "balance" or sums
            rows.append((f"{law.name} of {hidden.kind} stays", stays, bool(moves.abs().max() < 1e-10)))
    logits = torch.randn(40, classes, generator=draw, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(logits, torch.arange(40) % classes), logits)
    span = int(torch.linalg.matrix_rank(slope))
    return [*rows, ("directions of the gradients on the logits", classes - sums, span)]


CHECKS: dict[str, Callable[[], Rows]] = {
    "deep-linear": _deep_linear,
    "lie-algebra": _lie_algebra,
    "weight-decay": _weight_decay,
    "momentum-linear": _momentum_linear,
    "momentum-relu": _momentum_relu,
    "nmf": _nmf,
    "noether-momentum": _momentum_linear,
    "sign-descent": _sign_descent,
    "noise": _noise,
    "sgd-bound": lambda: _steps(_linear(3, 2, 4)),
    "label-smoothing": lambda: [
        *_classified(partial(cross_entropy, label_smoothing=0.1)),
        *_classified(lambda z, t: cross_entropy(z, torch.eye(3, dtype=z.dtype)[t] * 0.6 + 0.4 / 3)),
    ],
    "class-weights": lambda: _classified(partial(cross_entropy, weight=torch.tensor([0.5, 1.0, 3.0]).double())),
    "focal-loss": lambda: _classified(_focal),
    "loss-reduction": lambda: _classified(_reduced),
    "z-loss": lambda: _classified(_z_loss, sums=False),
    "modern-blocks": lambda: _steps(Architecture(b.SwiGLU(2, 3), input=b.Signal(2))),
}
