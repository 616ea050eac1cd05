"""What each witness catches, by planted faults: `python -m lawful.testing.score`.

Wrong backward passes are planted behind a submodule of small networks: what the forward computes stays the same.  Every
fault has a correct twin, the same network with the right backward, which has to pass.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from lawful.graph.questions.derive import derive
from lawful.theory.losses import LossLike
from lawful.theory.verdict import Verdict

from .examine import examine
from .findings import Findings
from .lawcheck import check_law, of_samples
from .survey import one
from .witness.judge import DERIVATIVE, REACH, REFERENCE
from .witness.sample import loss_of
from .witness.steps import Request, in_double

Change = Callable[[torch.Tensor], torch.Tensor]


class Planted(torch.autograd.Function):
    """The identity, with a backward that does something else."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, change: Change) -> torch.Tensor:  # type: ignore[no-untyped-def,override]
        """Gives what it gets."""
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor | None, None]:  # type: ignore[no-untyped-def,override]
        """Sends on something else."""
        return ctx.change(grad), None


class Kernel(Planted):
    """The same, where no kernel of torch shows what the forward does."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, change: Change) -> torch.Tensor:  # type: ignore[no-untyped-def,override]
        """Gives what it gets, through numpy."""
        ctx.change = change
        return torch.from_numpy(x.detach().numpy().copy())


def _behind(change: Change) -> Change:
    return lambda x: Planted.apply(x, change)


def _masked(grad: torch.Tensor) -> torch.Tensor:
    return grad * (torch.arange(grad.shape[-1], device=grad.device) > 0)


def _rows(grad: torch.Tensor) -> torch.Tensor:
    return torch.cat([grad[:-1], torch.zeros_like(grad[-1:])])


def _detached_part(x: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return torch.cat([x[..., :half].detach(), x[..., half:]], -1)


def _half_seen(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x + 0.5 * x.detach()


FAULTS: dict[str, Change] = {
    "twice": _behind(lambda g: 2 * g),
    "sign": _behind(lambda g: -g),
    "2e-3 off in one feature": _behind(lambda g: g + 2e-3 * (g - _masked(g))),
    "a feature missing": _behind(_masked),
    "the last example missing": _behind(_rows),
    "features shifted by one": _behind(lambda g: g.roll(1, -1)),
    "averaged over the features": _behind(lambda g: g.mean(-1, keepdim=True).expand_as(g)),
    "averaged over the batch": _behind(lambda g: g.mean(0, keepdim=True).expand_as(g)),
    "a foreign kernel, twice": lambda x: Kernel.apply(x, lambda g: 2 * g),
    "a part detached": _detached_part,
    "seen by half": _half_seen,
}
RIGHT: dict[str, Change] = {
    "right": _behind(lambda g: g),
    "right, a foreign kernel": lambda x: Kernel.apply(x, lambda g: g),
}


@dataclass(frozen=True)
class Bed:
    """A network to plant faults in.

    Attributes:
        make: builds it.
        at: the submodule whose output is changed.
        args: its inputs.
        loss: of its output.
    """

    make: Callable[[], nn.Module]
    at: str
    args: tuple[torch.Tensor, ...]
    loss: LossLike = "mse"


class Tied(nn.Module):
    """A language model with one table."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(9, 6), nn.Linear(6, 6)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Scores of the next word."""
        return torch.tanh(self.mix(self.table(ids))) @ self.table.weight.T


class Residual(nn.Module):
    """A block with a skip."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The input and the branch."""
        return x + self.branch(x)


class Gated(nn.Module):
    """A gated unit."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The gated features."""
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


class Last(nn.Module):
    """The outputs of a recurrent layer, and a head."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.pick, self.head = layer, nn.Identity(), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores at every position."""
        return self.head(self.pick(self.layer(x)[0]))


def beds(seed: int = 0) -> dict[str, Bed]:
    """The networks."""
    g = torch.Generator().manual_seed(seed)
    x, image, tokens = (torch.randn(s, generator=g) for s in ((12, 4), (4, 3, 8, 8), (3, 5, 8)))
    ids = torch.randint(9, (4, 5), generator=g)
    conv = [nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm]

    def cnn(norm: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(
            conv[0](3, 6, 3),
            norm(),
            nn.ReLU(),
            conv[0](6, 4, 3),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 3),
        )

    def mlp(*inside: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(nn.Linear(4, 8), *(i() for i in inside), nn.Linear(8, 3))

    return {
        "perceptron": Bed(mlp(nn.ReLU), "0", (x,)),
        "deep perceptron": Bed(mlp(nn.ReLU, lambda: nn.Linear(8, 8), nn.GELU), "2", (x,), "cross_entropy"),
        "layer norm": Bed(mlp(lambda: nn.LayerNorm(8), nn.ReLU), "1", (x,)),
        "RMS norm": Bed(mlp(lambda: nn.RMSNorm(8), nn.SiLU), "1", (x,)),
        "batch norm": Bed(mlp(lambda: nn.BatchNorm1d(8), nn.ReLU), "1", (x,)),
        "residual": Bed(
            mlp(lambda: Residual(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)))), "1.branch.0", (x,)
        ),
        "convolution": Bed(cnn(nn.Identity), "3", (image,)),
        "convolution with norm": Bed(cnn(lambda: nn.GroupNorm(2, 6)), "1", (image,)),
        "transformer layer": Bed(
            lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), nn.Linear(8, 3)),
            "0.linear1",
            (tokens,),
        ),
        "tied table": Bed(Tied, "table", (ids,), "cross_entropy"),
        "gated unit": Bed(Gated, "gate", (x,)),
        "recurrent": Bed(lambda: Last(nn.LSTM(8, 6, batch_first=True)), "pick", (tokens,)),
    }


@dataclass
class Row:
    """What was found about one fault.

    Attributes:
        bed: the network.
        fault: what was planted; a name in `RIGHT` for a twin.
        caught: the witnesses that contradict, and other tests that fail.
        named: whether only really wrong parameters are named.
        seconds: how long the kit took.
    """

    bed: str
    fault: str
    caught: set[str] = field(default_factory=set)
    named: bool = True
    seconds: float = 0.0

    @property
    def wrong(self) -> bool:
        """Whether the kit failed."""
        return "kit" in self.caught


def plant(bed: Bed, change: Change | None, seed: int = 0) -> nn.Module:
    """The network of a bed, with a fault."""
    torch.manual_seed(seed)
    model = bed.make()
    if change is not None:
        model.get_submodule(bed.at).register_forward_hook(lambda module, args, out: change(out))
    return model


def score(names: Sequence[str] | None = None, say: Callable[[str], None] | None = None) -> list[Row]:
    """Plants every fault in every network.

    Args:
        names: of the networks; all by default.
        say: is told every row.
    """
    rows = []
    for name, bed in beds().items():
        if names is not None and name not in names:
            continue
        laws = derive(plant(bed, None), bed.loss, args=bed.args)
        for fault, change in {**RIGHT, **FAULTS}.items():
            model = plant(bed, change)
            found = examine(model, bed.args, loss=bed.loss)
            row = Row(name, fault, seconds=found.seconds)
            row.caught |= {w for p in found.wrong for w in p.against if w in (REFERENCE, DERIVATIVE, REACH)}
            row.caught |= {"kit"} if found.verdict is not Verdict.HOLDS else set()
            request = Request(model, bed.args, {}, lambda s, bed=bed: loss_of(bed.loss, -1, s), 2, 0, True)
            points = [(p, own, None, w) for p, own, _, w in of_samples(in_double(request))]
            broken = [check_law(law, points).verdict is Verdict.VIOLATED for law in laws if law.exact]
            row.caught |= {"laws"} if any(broken) else set()
            row.caught |= {"parameters change"} if not _all_change(model, bed) else set()
            row.named = _named(found, model, bed) if fault in FAULTS else True
            rows.append(row)
            if say is not None:
                say(line(row))
    return rows


def _all_change(model: nn.Module, bed: Bed) -> bool:
    """The test that most repositories have: after a step every parameter has moved."""
    model.zero_grad()
    model(*bed.args).square().mean().backward()
    return all(p.grad is not None and float(p.grad.norm()) > 0 for p in model.parameters())


def _named(found: Findings, model: nn.Module, bed: Bed) -> bool:
    """Whether every parameter that is named has a wrong gradient."""
    grads = []
    for m in (model, plant(bed, None)):
        m.zero_grad()
        torch.manual_seed(0)
        out = m(*bed.args)
        w = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        ((out * w).sum() + out.square().mean()).backward()
        grads.append({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in m.named_parameters()})
    really = {n for n, g in grads[0].items() if float((g - grads[1][n]).norm()) > 1e-5 * float(grads[1][n].norm())}
    return bool(found.wrong) and {p.name for p in found.wrong} <= really


COLUMNS = ("laws", REFERENCE, DERIVATIVE, REACH, "parameters change")


def line(row: Row) -> str:
    """One line of the table."""
    marks = " | ".join("x" if c in row.caught else " " for c in COLUMNS)
    result = "caught" if row.wrong else "passes"
    return f"| {row.bed} | {row.fault} | {result} | {'yes' if row.named else 'NO'} | {marks} | {row.seconds:.1f} |"


def table(rows: Sequence[Row]) -> str:
    """The whole table, in Markdown, and its sums."""
    head = f"| network | fault | kit | named | {' | '.join(COLUMNS)} | seconds |"
    faults, twins = [r for r in rows if r.fault in FAULTS], [r for r in rows if r.fault in RIGHT]
    sums = [f"{c} {sum(c in r.caught for r in faults)}" for c in COLUMNS]
    return "\n".join(
        [
            head,
            "| --- " * (len(COLUMNS) + 5) + "|",
            *map(line, rows),
            "",
            f"{sum(r.wrong for r in faults)} of {len(faults)} faults caught, {sum(r.named for r in faults)} named; "
            f"{sum(r.wrong for r in twins)} of {len(twins)} correct twins accused; alone: {', '.join(sums)}",
        ]
    )


def correct(count: int, start: int = 0) -> tuple[int, list[str]]:
    """Tests random plain modules, whose gradients are torch's own and right.

    Args:
        count: how many.
        start: number of the first.

    Returns:
        How many were tested and passed, and a line for each that was accused or could not be run.
    """
    passed, accused = 0, []
    for number in range(start, start + count):
        program, losses = one(number)
        try:
            found = examine(program.module(), program.args(), loss=losses[0])
        except (AssertionError, ValueError) as error:  # the loss of some is no number anywhere
            if "not a number" not in str(error):
                accused.append(f"{number}: {error}")
            continue
        passed += found.verdict is Verdict.HOLDS
        if found.verdict is Verdict.VIOLATED:
            accused.append(f"{number}: {found}")
    return passed, accused


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lawful.testing.score", description=__doc__)
    parser.add_argument("names", nargs="*", help="networks (all by default)")
    parser.add_argument("--correct", type=int, default=0, metavar="N", help="also test N random correct modules")
    options = parser.parse_args()
    began = time.perf_counter()
    rows = score(options.names or None)
    print(table(rows))
    print(f"{time.perf_counter() - began:.0f} s")
    accused: list[str] = []
    if options.correct:
        passed, accused = correct(options.correct)
        print(f"{len(accused)} of {options.correct} correct modules accused, {passed} passed", *accused, sep="\n")
    faults = [r for r in rows if r.fault in FAULTS]
    if accused or any(not r.wrong for r in faults) or any(r.wrong for r in rows if r.fault in RIGHT):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
