"""`lawful demo`: the whole story on a real ResNet and a real Transformer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.table import Table

from lawful.dynamics.train import Recording, drift_slope, train
from lawful.graph.questions.check import CheckReport, check
from lawful.theory.extras import how_to_install

from .bad_input import BadInput
from .demo_networks import Subject, subjects
from .demo_result import Result
from .tables import LawTable, check_data, number

LOSS = "cross_entropy"
PROVED = "balance of layer1.attention.heads.q"


def run(output: Path, steps: int, seed: int, as_json: bool, console: Console) -> bool:
    """Runs the demo.

    Args:
        output: where the figure goes.
        steps: training steps for each learning rate.
        seed: of everything random.
        as_json: print plain data on stdout; `console` should then be on stderr.
        console: where people read.

    Returns:
        Whether everything that it claims was found true.

    Raises:
        BadInput: if scikit-learn or matplotlib is not installed, or the figure cannot be written.
    """
    start = time.monotonic()
    draw = _drawing(output)
    data = [(subject, subject.batches(steps, seed)) for subject in subjects()]
    results = []
    for subject, batches in data:
        console.print(Rule(f"[bold]{subject.name}[/bold]", align="left"))
        console.print(subject.arch, highlight=False)
        found = _check(subject, seed, console)
        runs = _train(subject, found, batches, seed, console)
        results.append(Result(subject, found, runs))
        _print_training(results[-1], console)
    try:
        draw(results, output)
    except OSError as error:
        raise BadInput(
            f"cannot write the figure to {output}: {error.strerror}; choose a place with --output"
        ) from error
    good = all(r.good for r in results)
    seconds = time.monotonic() - start
    console.print(Rule())
    console.print(_verdict(results), f"The figure is in {output.resolve()} ({seconds:.0f} s in all).", sep="\n")
    if as_json:
        plain = {
            "good": good,
            "figure": str(output.resolve()),
            "seconds": seconds,
            "networks": [_data(r) for r in results],
        }
        print(json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False))
    return good


def _drawing(output: Path) -> Callable[[Sequence[Result], Path], None]:
    """What draws the figure, after a look at its place: better now than when all the work is done."""
    try:
        from .demo_figure import FORMATS, draw
    except ImportError as error:
        raise BadInput(f"the demo draws with matplotlib; {how_to_install('train,plot')}") from error
    problem = ""
    if output.suffix not in FORMATS:
        problem = f"its name ends in none of {', '.join(FORMATS)}"
    elif not output.parent.is_dir():
        problem = f"there is no folder {output.parent}"
    if problem:
        raise BadInput(f"cannot write the figure to {output}: {problem}; choose a place with --output")
    return draw


def _check(subject: Subject, seed: int, console: Console) -> CheckReport:
    """Derives, verifies, counts, and prints the laws and one proof."""
    with console.status("deriving") as status:
        found = check(subject.arch, LOSS, seed=seed, progress=status.update)
    console.print(LawTable(found.laws, f"The laws of the {subject.name}", found.report), "")
    short = min((law for law in found.laws if law.kind == "balance"), key=lambda law: len(law.latex))
    console.print(f"In LaTeX, {short.name}: $h_i = {short.latex}$", markup=False, highlight=False, soft_wrap=True)
    if any(law.name == PROVED for law in found.laws):
        proof = found.laws[PROVED].proof
        steps = proof.recheck()
        passed = sum(ok for _, ok in steps)
        console.print("", "[bold]One proof in full[/bold]", sep="\n")
        console.print(str(proof), markup=False, highlight=False, soft_wrap=True)
        console.print(f"{passed} of {len(steps)} hypotheses checked again and found true", highlight=False)
    console.print("", *found.summary.splitlines(), "", sep="\n", highlight=False)
    return found


def _train(
    subject: Subject, found: CheckReport, batches: list[tuple[torch.Tensor, torch.Tensor]], seed: int, console: Console
) -> tuple[Recording, ...]:
    """Trains once for every rate, from one start and on the same batches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    runs = []
    with Progress(*columns, console=console, transient=True) as bar:
        for rate in subject.rates:
            task = bar.add_task(f"SGD on {subject.data}, rate {rate:g}", total=len(batches))
            module = subject.arch.to_torch(torch.float64, seed)

            def advance(step: int, loss: float, task: TaskID = task) -> None:
                bar.update(task, completed=step)

            runs.append(train(module, found.laws, batches, rate, _loss, advance))
    return tuple(runs)


def _loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(output.flatten(0, -2), target.flatten())


def _print_training(result: Result, console: Console) -> None:
    subject, runs = result.subject, result.runs
    table = Table(box=None, header_style="bold", pad_edge=False, title_justify="left", title_style="bold")
    table.title = f"Plain SGD on {subject.data}, {runs[0].steps} steps, every law measured at every step"
    for name in ("rate", "loss", "drift of the exact laws", "largest |step - rate² Q(g)|", "drift left unexplained"):
        table.add_column(name, justify="right")
    for r in runs:
        exact = [t for t in r.traces if t.law.exact]
        first, last = mean_losses(r)
        table.add_row(
            f"{r.rate:g}",
            f"{first:.2f} -> {last:.2f}",
            f"{r.total_drift():.3g}",
            f"{max(t.step_deviation for t in exact):.0e} of the law's terms",
            f"{max(t.drift_deviation for t in exact):.0e} of the drift",
        )
    console.print(table)
    scalars = sum(law.count for law in result.check.laws if law.exact)
    console.print(
        f"Each step changes each of the {scalars} exact scalar laws by rate² Q(gradient), to rounding."
        if result.explained
        else f"NOT every step changes the {scalars} exact scalar laws by rate² Q(gradient).",
        f"After equally many steps the drift goes as rate^{drift_slope(runs):.2f};"
        f" after equal training time as rate^{drift_slope(runs, equal_time=True):.2f} (gradient flow: none).",
        sep="\n",
        highlight=False,
    )
    if rows := approximate(result):
        console.print("Laws up to the epsilon of a norm (1e-5 here) also move by what epsilon adds:", highlight=False)
        for name, residual, drift in rows:
            console.print(f"  {name}: derivative {residual:.0e}, drift left {drift:.0e}, relative", highlight=False)
    console.print("")


def mean_losses(recording: Recording) -> tuple[float, float]:
    """Mean loss over the first and over the last tenth of a run."""
    tenth = max(recording.steps // 10, 1)
    return sum(recording.losses[:tenth]) / tenth, sum(recording.losses[-tenth:]) / tenth


def approximate(result: Result) -> list[tuple[str, float, float]]:
    """For every approximate law its name, its relative derivative, and its largest unexplained drift in training."""
    return [
        (law.name, result.check.report[law.name].residual, max(r[law.name].drift_deviation for r in result.runs))
        for law in result.check.laws
        if not law.exact
    ]


def _verdict(results: Sequence[Result]) -> str:
    if all(r.good for r in results):
        return (
            "Every law holds, none is missing in what was counted, "
            "and training breaks each by exactly what theory says."
        )
    failed = (
        f"{r.subject.name} (laws: {r.check.verdict}, training {'as' if r.explained else 'not as'} predicted)"
        for r in results
        if not r.good
    )
    return f"NOT everything held: {', '.join(failed)}"


def _data(result: Result) -> dict[str, Any]:
    return {
        "network": result.subject.name,
        "data": result.subject.data,
        "check": check_data(result.check),
        "training": [
            {
                "rate": r.rate,
                "steps": r.steps,
                "losses": mean_losses(r),
                "drift": r.total_drift(),
                "step_deviation": max(t.step_deviation for t in r.traces if t.law.exact),
                "drift_deviation": max(t.drift_deviation for t in r.traces if t.law.exact),
            }
            for r in result.runs
        ],
        "slope_equal_steps": drift_slope(result.runs),
        "slope_equal_time": drift_slope(result.runs, equal_time=True),
        "approximate": [{"law": n, "residual": number(r), "drift_left": number(d)} for n, r, d in approximate(result)],
    }
