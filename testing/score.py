"""What each witness catches, by planted faults: `python -m lawful.testing.score`.

Wrong backward passes are planted behind a submodule of small networks: what the forward computes stays the same.  Every
fault has a correct twin, the same network with the right backward, which has to pass.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import nn
from torch.func import functional_call

from lawful.graph.questions.derive import derive
from lawful.theory.verdict import Verdict

from .examine import examine
from .findings import Findings
from .lawcheck import check_law, of_samples
from .score_beds import FAULTS, RIGHT, Bed, Change, beds
from .score_right import Right, one_process, right
from .survey import one
from .witness.judge import DERIVATIVE, REACH, REFERENCE
from .witness.losses import loss_of
from .witness.steps import Request, in_double


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
            row.caught |= {REACH for _ in found.stopped}
            row.caught |= {"kit"} if found.verdict is not Verdict.HOLDS else set()
            request = Request(model, bed.args, {}, partial(loss_of, bed.loss, -1), 2, 0, True)
            points = [replace(p, true=None) for p in of_samples(in_double(request))]
            broken = [check_law(law, points).verdict is Verdict.VIOLATED for law in laws if law.exact]
            row.caught |= {"laws"} if any(broken) else set()
            row.caught |= {CHANGE} if not _all_change(model, bed) else set()
            row.caught |= {GRADCHECK} if not _gradcheck(plant(bed, change), bed) else set()
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


def _gradcheck(model: nn.Module, bed: Bed) -> bool:
    """`torch.autograd.gradcheck` on the whole module, by all parameters; what stops it counts as seen."""
    model = model.double()
    args = [a.double() if a.is_floating_point() else a for a in bed.args]
    names = dict(model.named_parameters())
    values = [p.detach().clone().requires_grad_() for p in names.values()]

    def run(*values: torch.Tensor) -> torch.Tensor:
        return functional_call(model, dict(zip(names, values, strict=True)), tuple(args))

    try:
        return bool(torch.autograd.gradcheck(run, values, fast_mode=True, raise_exception=False))
    except RuntimeError:
        return False


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
    named = {p.name for p in (*found.wrong, *found.stopped)}
    return bool(named) and named <= really


CHANGE, GRADCHECK = "parameters change", "gradcheck"
COLUMNS = ("laws", REFERENCE, DERIVATIVE, REACH, GRADCHECK, CHANGE)


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
    passed, lines = 0, []
    for number in range(start, start + count):
        program, losses = one(number)
        try:
            found = examine(program.module(), program.args(), loss=losses[0])
        except (AssertionError, ValueError) as error:  # the loss of some is no number anywhere
            if "not a number" not in str(error):
                lines.append(f"{number}: {error}")
            continue
        passed += found.verdict is Verdict.HOLDS
        if found.verdict is Verdict.VIOLATED:
            lines.append(f"{number}: {found}")
    return passed, lines


def accused(modules: Iterable[Right], seed: int = 0) -> tuple[int, list[str]]:
    """Tests modules that are right (see `score_right`).

    Returns:
        How many passed, and a line for each that did not, or that could not be run.
    """
    passed, lines = 0, []
    with one_process():
        for number, one in enumerate(modules):
            torch.manual_seed(seed + number)
            try:
                found = examine(one.make(), one.args, loss="cross_entropy")
            except (AssertionError, ValueError) as error:
                lines.append(f"{one.kind}, {one.name}: {error}")
                continue
            passed += found.verdict is Verdict.HOLDS
            if found.verdict is not Verdict.HOLDS:
                lines.append(f"{one.kind}, {one.name}: {found}")
    return passed, lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lawful.testing.score", description=__doc__)
    parser.add_argument("names", nargs="*", help="networks (all by default)")
    parser.add_argument("--correct", type=int, default=0, metavar="N", help="also test N random correct modules")
    parser.add_argument("--wrapped", action="store_true", help="also test 120 correct modules in usual wrappings")
    options = parser.parse_args()
    began = time.perf_counter()
    rows = score(options.names or None)
    print(table(rows))
    print(f"{time.perf_counter() - began:.0f} s")
    lines: list[str] = []
    if options.correct:
        passed, lines = correct(options.correct)
        print(f"{len(lines)} of {options.correct} random correct modules accused, {passed} passed", *lines, sep="\n")
    if options.wrapped:
        modules = list(right())
        passed, bad = accused(modules)
        print(f"{len(bad)} of {len(modules)} wrapped correct modules accused, {passed} passed", *bad, sep="\n")
        lines += bad
    faults = [r for r in rows if r.fault in FAULTS]
    if lines or any(not r.wrong for r in faults) or any(r.wrong for r in rows if r.fault in RIGHT):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
