"""`lawful certify`, and the certificates that `lawful count --exact --certificate FILE` writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .specs import BadInput
from .terminal import AsJson, console, finish, print_json, single_thread, status

if TYPE_CHECKING:
    from lawful.graph.architecture import Architecture

File = Annotated[Path, typer.Argument(help="what `lawful count SPEC --exact --certificate FILE` wrote")]


def certify(file: File, as_json: AsJson = False) -> None:
    """Prove the number of laws in a certificate again, with code that shares nothing with the counting."""
    from lawful.graph.certificate import Certificate, Refused

    if not file.is_file():
        raise BadInput(f"there is no file {file}; write one with lawful count SPEC --exact --certificate {file}")
    single_thread()
    try:
        with status(as_json, "checking"):
            proved = Certificate.read(file).check()
    except Refused as error:
        if as_json:
            print_json({"proved": False, "reason": str(error)})
        else:
            console(False).print(f"refused: {error}", highlight=False, markup=False)
        finish(False)
    if as_json:
        print_json(
            {
                "proved": True,
                "parameters": proved.parameters,
                "at_least": proved.at_least,
                "at_most": proved.at_most,
                "prime": proved.prime,
                "doubt": proved.doubt,
            }
        )
    else:
        lines = (
            f"{number(proved.at_least, proved.at_most)} of {proved.parameters} parameters",
            f"no more: {proved.parameters - proved.at_most} fields and brackets are independent modulo {proved.prime}",
            f"no fewer: {proved.at_least} independent laws are orthogonal to every field"
            + (f" (a false one passes with probability {proved.doubt:.0e})" if proved.at_least else ""),
            "the polynomial is the network's: both give the same numbers at random points",
        )
        console(False).print(*lines, sep="\n", highlight=False, markup=False)
    finish(True)


def counted_with_certificate(
    arch: Architecture, loss: str, file: Path, as_json: bool, progress: Callable[[str], None]
) -> NoReturn:
    """Counts the laws of a network, writes the certificate and ends the command."""
    from lawful.graph.certificate import certificate

    if not file.absolute().parent.is_dir():
        raise BadInput(f"there is no folder {file.absolute().parent} for the certificate; make it first")
    if file.is_dir():
        raise BadInput(f"{file} is a folder; name a file in it for the certificate")
    found = certificate(arch, loss, progress=progress)
    try:
        found.write(file)
    except OSError as error:
        raise BadInput(f"the certificate cannot be written to {file} ({error.strerror}); name another file") from error
    if as_json:
        claim = found.content["claim"]
        print_json({**claim, "prime": found.content["prime"], "certificate": str(file)})
    else:
        lines = (
            f"{number(found.at_least, found.at_most)} of {found.content['claim']['parameters']} parameters",
            f"the proof is in {file}; check it with lawful certify {file}",
        )
        console(False).print(*lines, sep="\n", highlight=False, markup=False)
    finish(found.at_least == found.at_most)


def number(at_least: int, at_most: int) -> str:
    """A number of laws, or between which two it lies."""
    laws = "law" if at_most == 1 else "laws"
    return f"{at_most} independent {laws}" if at_least == at_most else f"{at_least} to {at_most} independent {laws}"
