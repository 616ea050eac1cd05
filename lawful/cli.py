"""The command line: `lawful demo | derive | verify | count | certify | check | audit | train | ledger | catalog | ...`.

Exit codes: 0 lawful, 1 a law is violated, missing or undecided, 2 bad input (one line on stderr).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .cli_atlas import atlas
from .cli_audit import audit
from .cli_catalog import catalog_app
from .cli_certify import certify, counted_with_certificate
from .cli_train import ledger, train
from .specs import BadInput, load
from .terminal import AsJson, console, finish, print_json, single_thread, status

if TYPE_CHECKING:
    from lawful.graph.architecture.architecture import Architecture

app = typer.Typer(
    help="Which quantities does training a neural network conserve, why, and is the list complete?",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(catalog_app, name="catalog")
app.command()(atlas)
app.command()(audit)
app.command()(certify)
app.command()(train)
app.command()(ledger)

Spec = Annotated[
    str,
    typer.Argument(
        help="a network: family:resnet18, family:mlp:widths=3,4,2, torchvision:vgg16, timm:resnet50, hf:gpt2, "
        "file.py:function or arch.json"
    ),
]
Loss = Annotated[
    str,
    typer.Option(help="mse, cross_entropy, bce, l1, hinge, kl, cosine, ...; one for every output: cross_entropy+mse"),
]
Seed = Annotated[int, typer.Option(help="seed of everything random")]
Shrink = Annotated[bool, typer.Option("--shrink", help="use the network's copy with tiny axes")]

COUNTABLE = 2000  # trainable scalars: more than this takes the oracle minutes and gigabytes
EXACTLY_COUNTABLE = 5000  # the same modulo a prime
VERIFIABLE = 50_000_000  # parameters: more than this takes gigabytes in float64


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="where the figure goes")] = Path("lawful-demo.png"),
    steps: Annotated[int, typer.Option(min=8, help="training steps for each learning rate")] = 240,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Derive, prove, verify and count the laws of a ResNet and a Transformer, and train both."""
    from .demo import run

    single_thread()
    finish(run(output, steps, seed, as_json, console(as_json)))


@app.command()
def derive(
    spec: Spec,
    loss: Loss = "mse",
    latex: Annotated[bool, typer.Option("--latex", help="formulas in LaTeX")] = False,
    proof: Annotated[str | None, typer.Option(metavar="LAW", help="print the proof of this law")] = None,
    as_json: AsJson = False,
) -> None:
    """List the laws of a network, or print the proof of one."""
    from lawful.graph.questions.derive import derive as derive_laws

    from .cli_trace import trace_data, trace_lines
    from .tables import law_data, law_line, law_table, laws_data

    arch = load(spec)
    laws = derive_laws(arch, loss)
    if proof is not None:
        try:
            law = laws[proof]
        except KeyError as error:
            raise BadInput(error.args[0]) from error
        text = law.proof.latex() if latex else str(law.proof)
        if as_json:
            print_json({**law_data(law), "proof": text, "proved": law.proof.holds})
        else:
            print(text)
        finish(law.proof.holds)
    if as_json:
        print_json({**laws_data(laws), **trace_data(arch)})
        return
    terminal = console(False)
    terminal.print(law_table(laws, spec, latex=latex))
    terminal.print(law_line(laws), *laws.notes, *trace_lines(arch), sep="\n", highlight=False, markup=False)


@app.command()
def verify(
    spec: Spec,
    loss: Loss = "mse",
    samples: Annotated[int, typer.Option(min=1, help="number of random points")] = 4,
    seed: Seed = 0,
    shrink: Shrink = False,
    as_json: AsJson = False,
) -> None:
    """Check every law of a network by loss gradients at random points."""
    from lawful.graph.questions.check import acceptable
    from lawful.graph.questions.check import verify as verify_laws
    from lawful.graph.questions.derive import derive as derive_laws

    from .cli_trace import trace_data, trace_lines
    from .tables import law_line, law_table, laws_data, report_data

    arch, whole = _load(spec, shrink, VERIFIABLE, "verification")
    laws = derive_laws(arch, loss)
    with status(as_json, "verifying"):
        report = verify_laws(arch, laws, samples=samples, seed=seed)
    if as_json:
        print_json({**report_data(report), "derived": laws_data(laws), **trace_data(whole)})
    else:
        terminal = console(False)
        terminal.print(law_table(laws, spec, report))
        outcome = (
            f"verdict: {report.verdict}" if laws else "there is no law to verify; check says whether one is missing"
        )
        lines = (law_line(laws), *laws.notes, *trace_lines(whole), outcome)
        terminal.print(*lines, sep="\n", highlight=False, markup=False)
    finish(acceptable(report, laws))


@app.command()
def count(
    spec: Spec,
    loss: Loss = "mse",
    seed: Seed = 0,
    shrink: Shrink = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="modulo primes, without rounding (polynomial networks)")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="with --exact: write a proof that `lawful certify` checks")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count the independent laws of a network by brute force, without deriving them."""
    from lawful.graph.questions.count import count as count_laws
    from lawful.theory.oracle.exact.program import NotPolynomialError

    from .cli_trace import trace_data, trace_lines
    from .tables import count_data

    if certificate is not None and not exact:
        raise BadInput("a certificate is written for an exact count only; add --exact")
    if certificate is not None and seed:
        raise BadInput("the random numbers of a certificate follow from its content; leave out --seed")
    arch, whole = _load(spec, shrink, EXACTLY_COUNTABLE if exact else COUNTABLE, "brute force")
    single_thread()
    with status(as_json, "counting") as say:
        try:
            if certificate is not None:
                counted_with_certificate(arch, loss, certificate, as_json, say)
            found = count_laws(arch, loss, seed=seed, exact=exact, progress=say)
        except NotPolynomialError as error:
            raise BadInput(f"{spec} cannot be counted exactly: {error}; leave out --exact") from error
    if as_json:
        print_json({**count_data(found), **trace_data(whole)})
    else:
        console(False).print(
            f"{found.laws} independent laws: {found.parameters} parameters, "
            f"rank {found.ranks[-1]} of the fields and their brackets",
            *trace_lines(whole),
            f"verdict: {found.verdict} ({found.method}" + ("" if exact else f", spectral gap {found.gap:.0e}") + ")",
            sep="\n",
            highlight=False,
            markup=False,
        )
    finish(found.verdict.passed)


@app.command()
def check(spec: Spec, loss: Loss = "mse", seed: Seed = 0, as_json: AsJson = False) -> None:
    """Derive, verify and count: do the laws hold, and is the list complete?"""
    from lawful.graph.questions.check import check as check_laws

    from .cli_trace import trace_data, trace_lines
    from .tables import check_data, law_table

    arch = load(spec)
    single_thread()
    with status(as_json, "checking") as say:
        found = check_laws(arch, loss, seed=seed, progress=say)
    if as_json:
        print_json({**check_data(found), **trace_data(arch)})
    else:
        terminal = console(False)
        title = spec if found.verified_laws is found.laws else f"{spec}, on its shrunken copy"
        terminal.print(law_table(found.verified_laws, title, found.report))
        lines = (found.summary, *trace_lines(arch), f"verdict: {found.verdict}")
        terminal.print(*lines, sep="\n", highlight=False, markup=False)
    finish(found.lawful)


def main() -> None:
    """The `lawful` command."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except typer.TyperException as error:  # an unknown command or option, a missing or unreadable value
        _refuse(error.format_message())
    except typer.Abort:
        _refuse("stopped", 130)
    except ValueError as error:
        from lawful.blocks import ShapeError  # not at the top: it loads torch, which help and usage errors do not need
        from lawful.theory.gauge.boxes import LayoutError

        if not isinstance(error, (BadInput, ShapeError, LayoutError)):
            raise
        _refuse(str(error))
    sys.exit(code)


def _refuse(message: str, code: int = 2) -> NoReturn:
    print(f"lawful: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _load(spec: str, shrink: bool, limit: int, what: str) -> tuple[Architecture, Architecture]:
    """The network of a spec, or its shrunken copy, if it is not too large; and the network as it was read."""
    whole = load(spec)
    arch = whole.shrink() if shrink else whole
    size = sum(p.size for p in arch.parameters.values())
    if size > limit:
        way_out = "choose smaller options" if shrink else "add --shrink"
        raise BadInput(f"{spec} has {size:,} parameters, {what} takes up to {limit:,}; {way_out}")
    return arch, whole
