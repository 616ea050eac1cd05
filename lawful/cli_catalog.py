"""`lawful catalog`: search the verified laws, show one."""

from __future__ import annotations

from typing import Annotated

import typer

from .specs import BadInput
from .terminal import AsJson, console, print_json

catalog_app = typer.Typer(help="The laws of every block, each checked: search them, show one.")


@catalog_app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="words that must all occur in an entry")] = None,
    block: Annotated[str | None, typer.Option(help="about this block, for example SelfAttention")] = None,
    kind: Annotated[str | None, typer.Option(help="balance, shift, frozen or none")] = None,
    as_json: AsJson = False,
) -> None:
    """List the entries that match everything given."""
    from lawful.catalog import search as search_entries

    from .tables import entry_table

    try:
        found = search_entries(text, block=block, kind=kind)
    except ValueError as error:
        raise BadInput(str(error)) from error
    if as_json:
        print_json({"entries": [e.to_data() for e in found]})
    else:
        console(False).print(entry_table(found))


@catalog_app.command()
def show(id: Annotated[str, typer.Argument(help="the id of an entry")], as_json: AsJson = False) -> None:
    """Print one entry with its hypotheses and the certificate of its check."""
    from lawful.catalog import get

    from .tables import entry_lines

    try:
        entry = get(id)
    except KeyError as error:
        raise BadInput(error.args[0]) from error
    if as_json:
        print_json(entry.to_data())
    else:
        console(False).print(*entry_lines(entry), sep="\n", markup=False, highlight=False, soft_wrap=True)
