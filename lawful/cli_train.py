"""`lawful train`: a run with its laws accounted for; `lawful ledger`: that account again."""

from __future__ import annotations

import difflib
import inspect
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from lawful.theory.arguments import near_or_all

from .bad_input import BadInput
from .specs import expect_writable, load
from .tables import AccountTable
from .terminal import AsJson, console, finish, print_json, single_thread

if TYPE_CHECKING:
    import torch

OPTIMIZERS = ("SGD", "Adam", "AdamW", "Adamax", "RMSprop", "Adagrad", "Adadelta", "NAdam", "RAdam")
OTHER_LOOPS = ("capturable", "differentiable")  # options for graphs of CUDA, and for steps with gradients
FAILED = ("unexplained", "undecided")  # verdicts whose exit code is 1
TYPES = ("float64", "float32", "bfloat16")


def train(
    spec: Annotated[str, typer.Argument(help="a network, as for derive; family:mlp:widths=64,32,10")],
    data: Annotated[str, typer.Option(help="digits, text, or a file.npz with arrays x and y")] = "digits",
    optimizer: Annotated[
        str, typer.Option(help="sgd:lr=0.1,momentum=0.9, adamw:lr=1e-3,weight_decay=0.1, ...")
    ] = "sgd:lr=0.1",
    loss: Annotated[
        str | None, typer.Option(help="the loss: cross_entropy for classes and mse for numbers if not given")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="steps of the run")] = 100,
    batch: Annotated[int, typer.Option(min=1, help="examples in a batch")] = 32,
    dtype: Annotated[str, typer.Option(help="float64, float32 or bfloat16")] = "float64",
    every: Annotated[int, typer.Option(min=1, help="watch every k-th step")] = 1,
    clip: Annotated[float | None, typer.Option(help="clip the norm of the gradient")] = None,
    output: Annotated[Path, typer.Option(help="where the account goes, as JSON")] = Path("lawful-run.json"),
    figure: Annotated[Path | None, typer.Option(help="where a figure goes")] = None,
    seed: Annotated[int, typer.Option(help="seed of everything random")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a network and account for what the optimizer does to every law."""
    import torch

    from lawful.dynamics.figure import expect_picture
    from lawful.dynamics.ledger import Ledger
    from lawful.dynamics.report import record
    from lawful.graph.questions.derive import derive

    from .run_data import as_targets, batches, chosen_loss

    if dtype not in TYPES:
        raise BadInput(f"--dtype {dtype} is none of {', '.join(TYPES)}")
    if clip is not None and not 0 < clip < math.inf:
        raise BadInput(f"--clip {clip:g} is no norm that gradients can have; write a positive number")
    expect_writable(output)
    if figure is not None:
        expect_picture(figure)
    options = _options(optimizer)
    single_thread()
    torch.manual_seed(seed)
    arch = load(spec)
    kind = getattr(torch, dtype)
    pairs = list(batches(arch, data, batch, steps, seed, kind))
    classes = pairs[0][1].dtype == torch.int64
    chosen = chosen_loss(loss, classes, data)
    pairs = [(x, as_targets(y, chosen, arch.outputs[0].features)) for x, y in pairs]
    laws = derive(arch, chosen)
    if not laws and figure is not None:
        raise BadInput(f"{spec} has no law, so that there is nothing to draw; leave --figure out")
    model = arch.to_torch(kind, seed)
    made = _optimizer(optimizer, options, model)
    axis = arch.output_axes[0]
    losses: list[float] = []
    with Ledger(model, made, laws or None, loss=chosen, every=every) as ledger, _live(as_json) as show:
        for x, y in pairs:
            made.zero_grad()
            z = model(x).movedim(axis, -1)
            z = z.float() if kind == torch.bfloat16 and classes else z
            value = chosen(z, y if y.dtype == torch.int64 else y.reshape(z.shape).to(z.dtype))
            value.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            made.step()
            losses.append(value.item())
            show(ledger, losses)
        run = {
            **record(ledger),
            "network": spec,
            "data": data,
            "optimizer": optimizer,
            "loss": str(chosen),
            "type": dtype,
            "losses": [x if math.isfinite(x) else None for x in losses],
        }
        if figure is not None:
            ledger.plot(str(figure))
    output.write_text(json.dumps(run, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    if as_json:
        print_json(run)
    else:
        _print(run)
        console(False).print(f"the account is in {output}; lawful ledger {output} shows it again", highlight=False)
    finish(run["verdict"] not in FAILED)


def ledger(
    file: Annotated[Path, typer.Argument(help="what `lawful train`, or Ledger.to_json of your own loop, wrote")],
    law: Annotated[str | None, typer.Option(help="explain one law in words")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the account of a run again."""
    run = _read(file)
    if law is not None:
        if law not in run["explained"]:
            raise BadInput(f"{file} has no law named {law!r}; {near_or_all(law, run['explained'])}")
        print_json({"law": law, "explained": run["explained"][law]}) if as_json else print(run["explained"][law])
    elif as_json:
        print_json(run)
    else:
        _print(run)
    finish(run["verdict"] not in FAILED)


def _kind(spec: str) -> type[torch.optim.Optimizer]:
    """The class of the optimizer that a spec names."""
    import torch

    name = spec.partition(":")[0]
    kinds: dict[str, type[torch.optim.Optimizer]] = {o.lower(): getattr(torch.optim, o) for o in OPTIMIZERS}
    if name.lower() not in kinds:
        raise BadInput(f"--optimizer {name} is none of {', '.join(kinds)}")
    return kinds[name.lower()]


def _options(spec: str) -> dict[str, Any]:
    """The options in a spec, `adamw:lr=1e-3,weight_decay=0.1`, each one that the optimizer has and of its type.

    Raises:
        BadInput: says which option is wrong, and what there is.
    """
    name, _, rest = spec.partition(":")
    known = {
        n: p.default
        for n, p in inspect.signature(_kind(spec)).parameters.items()
        if p.default is not p.empty and n not in OTHER_LOOPS
    }
    options: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise BadInput(f"--optimizer {item} has no value; write name=value")
        words = {"true": True, "false": False}
        try:
            number = words[value.lower()] if value.lower() in words else tuple(map(float, value.split("/")))
        except ValueError as error:
            raise BadInput(
                f"--optimizer {item}: {value!r} is no number; write lr=0.1, betas=0.9/0.99 or nesterov=true"
            ) from error
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}? it has" if near else "it has"
            raise BadInput(f"--optimizer {name} has no option {key!r}; {hint} {', '.join(known)}")
        if key in options:
            raise BadInput(f"--optimizer {spec} says {key} twice; write it once")
        options[key] = number if isinstance(number, bool) or len(number) > 1 else number[0]
        if wanted := _misfit(options[key], known[key]):
            raise BadInput(f"--optimizer {item}: {key} must be {wanted}")
    return options


def _misfit(value: Any, default: Any) -> str:
    """What an option must be, by its default, if it is something else; empty if it fits."""
    if isinstance(default, bool) or default is None:
        return "" if isinstance(value, bool) else "true or false"
    numbers = value if isinstance(value, tuple) else (value,)
    count = len(default) if isinstance(default, tuple) else 1
    good = all(type(x) is float and math.isfinite(x) for x in numbers) and len(numbers) == count
    return "" if good else "a finite number" if count == 1 else f"{count} finite numbers with slashes between"


def _optimizer(spec: str, options: Mapping[str, Any], model: torch.nn.Module) -> torch.optim.Optimizer:
    """The optimizer that a spec names."""
    try:
        return _kind(spec)((p for p in model.parameters() if p.requires_grad), **options)
    except (TypeError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split()).rstrip(".")
        raise BadInput(f"--optimizer {spec}: {text}; change that option") from error


@contextmanager
def _live(quiet: bool) -> Iterator[Callable[[Any, list[float]], None]]:
    """A table that follows the run where stderr is a terminal."""
    terminal = Console(stderr=True)
    if quiet or not terminal.is_terminal:
        yield lambda ledger, losses: None
        return
    last = 0.0
    with Live(console=terminal, transient=True) as live:

        def show(ledger: Any, losses: list[float]) -> None:
            nonlocal last
            if time.monotonic() - last > 0.5:
                last = time.monotonic()
                live.update(AccountTable(ledger.rows(), f"step {len(losses)}, loss {losses[-1]:.4g}"))

        yield show


def _read(file: Path) -> dict[str, Any]:
    """A run that was written, with everything in place that is shown."""
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(
            f"there is no file {file}; lawful train SPEC --output {file} writes one, and so does Ledger.to_json"
        ) from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadInput(
            f"{file} is no run that lawful train or Ledger.to_json wrote: it cannot be read as JSON"
        ) from error
    from lawful.dynamics.report import FORMAT

    need = {
        "laws": list,
        "explained": dict,
        "health": str,
        "verdict": str,
        "steps": int,
        "network": str,
        "optimizer": str,
    }
    if not isinstance(run, dict) or run.get("format") != FORMAT:
        raise BadInput(f"{file} is no run that lawful train or Ledger.to_json wrote: its format is not {FORMAT!r}")
    wrong = [n for n, kind in need.items() if not isinstance(run.get(n), kind)]
    rows = [] if wrong else run["laws"]
    if wrong or not all(
        isinstance(r, dict) and {"law", "change", "remainder", "relative", "verdict"} <= set(r) for r in rows
    ):
        raise BadInput(f"{file} is damaged: {wrong[0] if wrong else 'laws'} is not what is written there")
    return run


def _print(run: dict[str, Any]) -> None:
    terminal = console(False)
    if run["laws"]:
        terminal.print(ledger_table(run))
    terminal.print(run["health"], highlight=False, markup=False)


def ledger_table(run: dict[str, Any]) -> AccountTable:
    """The account of a run as it was written, as the table that `lw.Ledger` prints."""
    from lawful.dynamics.report import Row

    title = f"{run['network']}, {run['optimizer']}, {run['steps']} steps"
    return AccountTable([Row.from_dict(row) for row in run["laws"]], title)
