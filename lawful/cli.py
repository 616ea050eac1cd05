"""The command line: `lawful demo | derive | verify | count | certify | check | draw | report | audit | train | ...`.

Exit codes: 0 lawful, 1 a law is violated, missing or undecided, 2 bad input (one line on stderr), 3 a mistake of lawful
itself, 130 stopped by Ctrl-C, 141 nobody reads the output any more.

This file is long because every command of a network is here, with its options in words.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lawful.theory.arguments import plural

from .bad_input import BadInput
from .cli_atlas import atlas
from .cli_audit import audit
from .cli_catalog import catalog_app
from .cli_certify import certify, counted_with_certificate
from .cli_reproduce import reproduce
from .cli_train import ledger, train
from .specs import expect_form, expect_writable, instance_of, load, small
from .terminal import AsJson, Commands, any_encoding, console, countable, finish, print_json, single_thread, status

if TYPE_CHECKING:
    from lawful.graph.architecture.architecture import Architecture

app = typer.Typer(
    cls=Commands,
    help="Which quantities does training a neural network conserve, why, and is the list complete?\n\n"
    "Exit codes: 0 lawful; 1 a law is violated, missing or undecided; 2 bad input; 3 a mistake of lawful itself.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Spec = Annotated[
    str,
    typer.Argument(
        callback=expect_form,
        help="a network: family:resnet18, family:mlp:widths=3,4,2, torchvision:vgg16, timm:resnet50, hf:gpt2, "
        "hf:path/to/folder, file.py:function or arch.json; published models take options of their own and the mode: "
        "hf:gpt2:n_layer=2:n_embd=8:n_head=2, timm:resnet18:training; functions of yours take their arguments: "
        "nets.py:make:width=4",
    ),
]
Loss = Annotated[
    str,
    typer.Option(help="mse, cross_entropy, bce, l1, hinge, kl, cosine, ...; one for every output: cross_entropy+mse"),
]
Seed = Annotated[int, typer.Option(help="seed of everything random")]
Shrink = Annotated[
    bool,
    typer.Option(
        "--shrink", help="take a copy with tiny axes, of a published model a small instance of its configuration"
    ),
]

VERIFIABLE = 50_000_000  # parameters: more than this takes gigabytes in float64


@app.command(short_help="See all of it on a ResNet and a Transformer, in a minute.")
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


@app.command(short_help="List the laws of a network, or print the proof of one.")
def derive(
    spec: Spec,
    loss: Loss = "mse",
    latex: Annotated[
        bool, typer.Option("--latex", help="whole formulas in LaTeX (amsmath), one display a law, to be pasted")
    ] = False,
    proof: Annotated[str | None, typer.Option(metavar="LAW", help="print the proof of this law")] = None,
    as_json: AsJson = False,
) -> None:
    """List the laws of a network, or print the proof of one.

    What "indexed by" and the indices of formulas mean is in docs/trust.md and in Python's help(lawful.Law).
    """
    from lawful.graph.questions.derive import derive as derive_laws
    from lawful.theory.laws.notes import once

    from .cli_trace import trace_data, trace_lines
    from .tables import LawTable, law_data, law_line, laws_data

    arch = load(spec)
    laws = derive_laws(arch, loss)
    if proof is not None:
        try:
            law = laws[proof]
        except KeyError as error:
            raise BadInput(error.args[0]) from error
        text = law.proof.latex if latex else law.proof.text
        if as_json:
            print_json({**law_data(law), "proof": text, "proved": law.proof.holds})
        else:
            print(text)
        finish(law.proof.holds)
    if as_json:
        print_json({**laws_data(laws), **trace_data(arch)})
        return
    terminal = console(False)
    if latex:  # lines that can be pasted
        for law in laws:
            print(f"% {law.name}, indexed by {law.algebra}\n\\[ {law.latex} \\]")
        return
    terminal.print(LawTable(laws, spec))
    lines = (law_line(laws), *once(laws.notes), *trace_lines(arch, laws.notes))
    terminal.print(*lines, sep="\n", highlight=False, markup=False)


@app.command(short_help="Check every law by gradients at random points.")
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
    from lawful.theory.laws.notes import once

    from .cli_trace import trace_data, trace_lines
    from .tables import LawTable, law_line, laws_data, reasons, report_data

    arch, whole = _load(spec, shrink, VERIFIABLE, "verification")
    laws = derive_laws(arch, loss)
    with status(as_json, "verifying"):
        report = verify_laws(arch, laws, samples=samples, seed=seed)
    if as_json:
        print_json({**report_data(report), "derived": laws_data(laws), **trace_data(whole)})
    else:
        terminal = console(False)
        terminal.print(LawTable(laws, spec, report))
        outcome = (
            f"verdict: {report.verdict}" if laws else "there is no law to verify; check says whether one is missing"
        )
        lines = (law_line(laws), *once(laws.notes), *trace_lines(whole, laws.notes), *reasons(report), outcome)
        terminal.print(*lines, sep="\n", highlight=False, markup=False)
    finish(acceptable(report, laws))


@app.command(short_help="Count the laws by brute force, without deriving them.")
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
    arch, whole = _load(spec, shrink, countable(), "brute force in the memory that is free")
    single_thread()
    with status(as_json, "counting") as say:
        try:
            if certificate is not None:
                counted_with_certificate(arch, loss, certificate, as_json, say)
            found = count_laws(arch, loss, seed=seed, exact=exact, progress=say)
        except NotPolynomialError as error:
            raise BadInput(f"{spec} cannot be counted exactly: {error.what}; leave out --exact") from error
    if as_json:
        print_json({**count_data(found), **trace_data(whole)})
    else:
        console(False).print(
            f"{plural(found.laws, 'independent law')}: {plural(found.parameters, 'parameter')}, "
            f"rank {found.ranks[-1]} of the fields and their brackets",
            *trace_lines(whole),
            f"verdict: {found.verdict} ({found.method}" + ("" if exact else f", spectral gap {found.gap:.0e}") + ")",
            *([f"undecided, because {found.doubt}"] if found.doubt else []),
            sep="\n",
            highlight=False,
            markup=False,
        )
    finish(found.verdict.passed)


@app.command(short_help="Derive, verify and count: is the list right and complete?")
def check(spec: Spec, loss: Loss = "mse", seed: Seed = 0, as_json: AsJson = False) -> None:
    """Derive, verify and count: do the laws hold, and is the list complete?"""
    from lawful.graph.questions.check import check as check_laws

    from .cli_trace import trace_data, trace_lines
    from .tables import LawTable, check_data

    arch = load(spec)
    single_thread()
    with status(as_json, "checking") as say:
        found = check_laws(arch, loss, seed=seed, instance=instance_of(spec), progress=say)
    if as_json:
        print_json({**check_data(found), **trace_data(arch)})
    else:
        terminal = console(False)
        measured = bool(found.report.laws)
        title = spec if found.verified_laws is found.laws or not measured else f"{spec}, on {found.subject.name}"
        terminal.print(LawTable(found.verified_laws if measured else found.laws, title, found.report))
        lines = (found.summary, *trace_lines(arch, found.laws.notes), found.outcome)
        terminal.print(*lines, sep="\n", highlight=False, markup=False)
    finish(found.lawful)


@app.command()
def draw(
    spec: Spec,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="ends in .svg, .png, .pdf, .mmd (Mermaid) or .dot (Graphviz)")
    ],
    loss: Loss = "mse",
    shrink: Shrink = False,
) -> None:
    """Draw a network with the laws on its wires."""
    from lawful.graph.questions.derive import derive as derive_laws

    from .drawn import paint

    expect_writable(output)
    arch = _shrunk(spec)[0] if shrink else load(spec)
    paint(arch, output, derive_laws(arch, loss))
    print(f"{output}: {arch}")


@app.command(short_help="Write one page: drawing, laws, proofs, counts, gaps.")
def report(
    spec: Spec,
    output: Annotated[Path, typer.Option("-o", "--output", help="where the page goes; ends in .html")],
    loss: Loss = "mse",
    seed: Seed = 0,
    count: Annotated[bool, typer.Option(help="verify and count as well, as check does")] = True,
) -> None:
    """Write one page about a network: drawing, laws with formulas, proofs, verification, counts, what is missing."""
    from lawful.graph.questions.check import check as check_laws

    from .page import page

    expect_writable(output, ".html")
    arch = load(spec)
    single_thread()
    with status(False, "checking") as say:
        found = check_laws(arch, loss, seed=seed, instance=instance_of(spec), progress=say) if count else None
        text = page(arch, spec, loss, found)
    output.write_text(text, encoding="utf-8")
    print(f"{output}: {max(len(text.encode()) // 1000, 1):,} kB")
    finish(found is None or found.lawful)


app.command(short_help="Train a network, and say what moved every law.")(train)
app.command()(ledger)
app.command(short_help="Does 'scale this, compensate there' keep the function?")(audit)
app.command(short_help="Run the experiments of a paper again.")(reproduce)
app.command(short_help="Prove the number of laws in a certificate again.")(certify)
app.command(short_help="Derive and verify the laws of published models.")(atlas)
app.add_typer(catalog_app, name="catalog")


@app.callback(invoke_without_command=True)
def _front(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        print(f"lawful {metadata.version('lawful')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """The `lawful` command."""
    any_encoding()
    try:
        code = app(prog_name="lawful", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        # click and rich end with 1 where a pipe is gone, which is the code of what is violated
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that closing it raises nothing
        sys.exit(141)
    except typer.TyperException as error:  # an unknown command or option, a missing or unreadable value
        _refuse(error.format_message())
    except (typer.Abort, KeyboardInterrupt) as error:
        _refuse(str(error) or "stopped", 130)
    except Exception as error:
        from lawful.theory.refusals import is_own, said

        own = is_own(error) and isinstance(error, (ValueError, ImportError))
        if own and type(error).__name__ != "ContradictionError":
            _refuse(str(error))
        if os.environ.get("LAWFUL_DEBUG"):
            traceback.print_exc()
        _refuse(f"a mistake of lawful itself ({said(error)}); LAWFUL_DEBUG=1 shows where, please report it", 3)
    sys.exit(code)


def _refuse(message: str, code: int = 2) -> NoReturn:
    line = " ".join(message.split())
    if "--json" in sys.argv[1:]:
        print_json({"error": line, "code": code})
    print(f"lawful: {line}", file=sys.stderr)
    sys.exit(code)


def _shrunk(spec: str) -> tuple[Architecture, Architecture]:
    """The small copy of a network, and the network as it was read."""
    if spec.startswith("hf:"):
        arch = small(spec)
        return arch, arch
    whole = load(spec)
    try:
        return whole.shrink(), whole
    except ValueError:  # sizes are built in where positions are moved
        if instance_of(spec) is None:
            raise
        return small(spec), whole


def _load(spec: str, shrink: bool, limit: int, what: str) -> tuple[Architecture, Architecture]:
    """The network of a spec, or its shrunken copy, if it is not too large; and the network as it was read."""
    arch, whole = _shrunk(spec) if shrink else (load(spec),) * 2
    size = sum(p.size for p in arch.parameters.values())
    if size > limit:
        way_out = "choose smaller options" if shrink else "add --shrink"
        raise BadInput(f"{spec} has {size:,} parameters, {what} takes up to {limit:,}; {way_out}")
    return arch, whole
