"""`lawful catalog`: ask it, show and cite an entry, keep your own laws, check the certificates, see the pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lawful.theory.arguments import plural

from .bad_input import BadInput
from .specs import load
from .terminal import AsJson, console, finish, print_json, status

if TYPE_CHECKING:
    from lawful.catalog import Entry, Found

T = TypeVar("T")

catalog_app = typer.Typer(
    help="The law catalog: every known law with its certificate. Ask it in words: lawful catalog search does Adam keep "
    "the balance of attention",
    rich_markup_mode=None,
)


@catalog_app.callback(invoke_without_command=True)
def _front(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


Id = Annotated[str, typer.Argument(help="the id of an entry, as search prints it")]
Name = Annotated[str, typer.Option(help="what your laws are kept under")]


@catalog_app.command(short_help="List the entries that answer a question, best first.")
def search(
    words: Annotated[
        list[str] | None, typer.Argument(help="a question, words, a model, a formula; no quotes needed")
    ] = None,
    block: Annotated[str | None, typer.Option(help="about this block, for example SelfAttention")] = None,
    kind: Annotated[
        str | None, typer.Option(help="balance, shift, frozen, none, claim, theorem, family or optimizer")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="show what this optimizer does to each law")] = None,
    loss: Annotated[str | None, typer.Option(help="only what holds for this loss")] = None,
    exact: Annotated[bool | None, typer.Option("--exact/--approximate", help="exact, or up to an epsilon")] = None,
    source: Annotated[str | None, typer.Option(help="part of the source, for example marcotte2025")] = None,
    between: Annotated[tuple[str, str] | None, typer.Option(help="two blocks that a law joins")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many answers to words")] = 10,
    as_json: AsJson = False,
) -> None:
    """List the entries that answer a question, best first; exit code 1 and the nearest ones if none does."""
    from lawful.catalog import search as search_entries

    asked = [v for v in (words, block, kind, optimizer, loss, exact, source, between) if v is not None]
    if not asked:
        raise BadInput("there is no question; write lawful catalog search does Adam keep norms, or --kind balance")
    try:
        found = search_entries(
            None if words is None else " ".join(words),
            block=block,
            kind=kind,
            optimizer=optimizer,
            loss=loss,
            exact=exact,
            source=source,
            between=between,
            limit=limit,
        )
    except ValueError as error:
        raise BadInput(str(error)) from error
    _listed(found, as_json)


@catalog_app.command()
def between(
    a: Annotated[str, typer.Argument(help="a kind of block, for example RMSNorm")],
    b: Annotated[str, typer.Argument(help="another, for example Linear")],
    as_json: AsJson = False,
) -> None:
    """List the laws that join two blocks."""
    from lawful.catalog import between as laws_between

    try:
        found = laws_between(a, b)
    except ValueError as error:
        raise BadInput(str(error)) from error
    _listed(found, as_json)


@catalog_app.command()
def breaks(optimizer: Annotated[str, typer.Argument(help="adam, momentum, sgd, ...")], as_json: AsJson = False) -> None:
    """List the laws that an optimizer breaks or lets drift."""
    from lawful.catalog import which_laws_break

    try:
        found = which_laws_break(optimizer)
    except ValueError as error:
        raise BadInput(str(error)) from error
    _listed(found, as_json)


@catalog_app.command(short_help="Print one entry as a page.")
def show(
    id: Id,
    proof: Annotated[bool, typer.Option("--proof", help="derive the law again and print its proof")] = False,
    as_json: AsJson = False,
) -> None:
    """Print one entry as a page: law, hypotheses, count, optimizers, how far it can be trusted, sources."""
    from lawful.catalog.find import related
    from lawful.catalog.page import page

    entry = _entry(id)
    if as_json:
        print_json(entry.to_data())
    else:
        console(False).print(
            page(entry, [e.id for e in related(entry)]),
            *_proof(entry, proof),
            sep="\n",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


@catalog_app.command()
def cite(id: Id) -> None:
    """Print the sources of an entry in BibTeX."""
    print(_entry(id).bibtex, end="")


@catalog_app.command(short_help="Check the laws of a network, and look each up.")
def ask(
    spec: Annotated[str, typer.Argument(help="a network: family:gpt2, file.py:function, arch.json, ...")],
    loss: Annotated[str, typer.Option(help="its loss")] = "mse",
    as_json: AsJson = False,
) -> None:
    """Derive, verify and count the laws of a network that no entry is about, and print them as entries."""
    from lawful.catalog.own import ask as derive

    with status(as_json, "deriving, verifying and counting"):
        answer = derive(load(spec), loss)
    if as_json:
        print_json({"entries": [e.to_data() for e in answer], "summary": answer.report.summary})
    else:
        console(False).print(str(answer), markup=False, highlight=False, soft_wrap=True)
    finish(answer.report.lawful)


@catalog_app.command(short_help="Keep the laws of your network beside the catalog.")
def add(
    spec: Annotated[str, typer.Argument(help="a network: family:gpt2, file.py:function, arch.json, ...")],
    name: Name,
    loss: Annotated[str, typer.Option(help="its loss")] = "mse",
    check: Annotated[bool, typer.Option("--check", help="verify and count too, for a certificate")] = False,
) -> None:
    """Derive the laws of your network and keep them beside the shipped entries; search finds them from then on."""
    from lawful.catalog import shelf
    from lawful.catalog.own import entries_of
    from lawful.graph.questions.check import check as check_laws

    _named(name)
    arch = load(spec)
    entries = entries_of(arch, name, loss, check_laws(arch, loss) if check else None)
    _shelf(lambda: shelf.add(name, entries))
    print(f"kept {plural(len(entries), 'entry', 'entries')} under {name} in {shelf.path()}")


@catalog_app.command()
def own(as_json: AsJson = False) -> None:
    """List what you keep of your own."""
    from lawful.catalog import shelf

    found = _shelf(shelf.names)
    if as_json:
        print_json({"path": str(shelf.path()), "networks": found})
    else:
        print(
            "\n".join(f"{name}: {plural(count, 'entry', 'entries')}" for name, count in found.items())
            or "you keep nothing of your own"
        )


@catalog_app.command()
def remove(name: Annotated[str, typer.Argument(help="what the laws are kept under")]) -> None:
    """Drop the laws that you keep under a name."""
    from lawful.catalog import shelf

    print(f"removed {plural(_shelf(lambda: shelf.remove(name)), 'entry', 'entries')}")


@catalog_app.command()
def export(
    path: Annotated[Path, typer.Argument(help="the file to write")],
    name: Annotated[str | None, typer.Option(help="only what is kept under this name")] = None,
) -> None:
    """Write your own entries to a file that `import` reads."""
    from lawful.catalog import shelf

    print(f"wrote {plural(_shelf(lambda: shelf.export(path, name)), 'entry', 'entries')} to {path}")


@catalog_app.command("import", short_help="Keep the entries of an exported file, all or none.")
def import_(path: Annotated[Path, typer.Argument(help="a file that `export` wrote")]) -> None:
    """Keep the entries of an exported file, all or none; nothing in it is run."""
    from lawful.catalog import shelf

    found = _shelf(lambda: shelf.load(path))
    print(f"kept {plural(sum(found.values()), 'entry', 'entries')} under {', '.join(found)}")


@catalog_app.command(short_help="Derive, verify and count entries again.")
def verify(
    ids: Annotated[list[str] | None, typer.Argument(help="ids or beginnings of ids; all entries without")] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 works in this one")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="skip what has passed before; keep what passes")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the certificates again: derive, verify and count every network; exit code 1 if an entry fails."""
    from lawful.catalog.verify import verify as verify_entries

    with status(as_json, "verifying") as say:
        try:
            found = verify_entries(
                ids or (),
                workers=workers,
                resume=resume,
                progress=lambda done, all, name: say(f"verifying: {done} of {all}, {name}"),
            )
        except ValueError as error:
            raise BadInput(str(error)) from error
    if as_json:
        failures = [{"id": f.id, "reason": f.reason} for f in found.failures]
        print_json({"entries": found.entries, "resumed": found.resumed, "failures": failures})
    else:
        print(found)
    finish(found.passed)


@catalog_app.command(short_help="Write the catalog as static pages.")
def site(
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder to write")],
    own: Annotated[bool, typer.Option("--own/--no-own", help="your own entries too")] = True,
) -> None:
    """Write the catalog as static pages, which need no network and no server."""
    from lawful.catalog.site import write

    count = _shelf(lambda: write(output, own))
    print(f"wrote {count} pages; open {output / 'index.html'}")


@catalog_app.command(short_help="Show the pages on this machine.")
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 0,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
) -> None:
    """Write the pages into a temporary folder and show them on this machine until you press Ctrl-C."""
    from .catalog_server import serve as run

    run(port, browser)


def _listed(found: Found, as_json: bool) -> None:
    if as_json:
        read = found.understood
        print_json(
            {
                "nearest": found.nearest,
                "optimizer": read.optimizer,
                "loss": read.loss,
                "corrected": dict(read.corrected),
                "unknown": list(read.unknown),
                "entries": [
                    {**e.to_data(), "fates": {k: {"status": f.status, "text": f.text} for k, f in e.fates.items()}}
                    for e in found
                ],
            }
        )
    else:
        console(False).print(str(found), markup=False, highlight=False, soft_wrap=True)
    finish(bool(found) and not found.nearest)


def _entry(id: str) -> Entry:
    from lawful.catalog import get

    try:
        return get(id)
    except KeyError as error:
        raise BadInput(error.args[0]) from error


def _proof(entry: Entry, wanted: bool) -> list[str]:
    if not wanted:
        return []
    from lawful.catalog import law_of

    try:
        return ["", law_of(entry).proof.text]
    except ValueError as error:
        raise BadInput(str(error)) from error


def _named(name: str) -> None:
    from lawful.catalog import shelf

    _shelf(lambda: shelf.checked_name(name))


def _shelf(action: Callable[[], T]) -> T:
    """Does something with your own entries; what cannot be done is bad input."""
    from lawful.catalog.shelf import ShelfError

    try:
        return action()
    except (ShelfError, OSError) as error:
        raise BadInput(str(error)) from error
    except KeyError as error:
        raise BadInput(error.args[0]) from error
