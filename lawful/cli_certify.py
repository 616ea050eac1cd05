"""`lawful certify`, and the certificates that `lawful count --exact --certificate FILE` writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lawful.theory.arguments import plural

from .bad_input import BadInput
from .specs import load
from .terminal import AsJson, console, finish, print_json, single_thread, status

if TYPE_CHECKING:
    from lawful.graph.architecture.architecture import Architecture
    from lawful.theory.oracle.exact.checker import Proved

File = Annotated[Path, typer.Argument(help="what `lawful count SPEC --exact --certificate FILE` wrote")]
Of = Annotated[str, typer.Option("--of", metavar="SPEC", help="the network that it must be about")]
Shrink = Annotated[bool, typer.Option("--shrink", help="with --of: its shrunken copy")]


def certify(file: File, of: Of = "", shrink: Shrink = False, as_json: AsJson = False) -> None:
    """Prove the number of laws in a certificate again, with code that shares nothing with the counting.

    It is a proof about the network that the file names; with --of, about one that you name.
    """
    from lawful.graph.questions.certificate import Certificate, Refused

    if not file.is_file():
        raise BadInput(f"there is no file {file}; write one with lawful count SPEC --exact --certificate {file}")
    if shrink and not of:
        raise BadInput("--shrink says which network a certificate must be about; add --of SPEC")
    single_thread()
    network = load(of) if of else None
    network = network.shrink() if network and shrink else network
    try:
        with status(as_json, "checking"):
            certificate = Certificate.read(file)
            proved = certificate.check(network)
            network = network or certificate.network
    except Refused as error:
        if as_json:
            print_json({"proved": False, "reason": str(error)})
        else:
            console(False).print(f"refused: {error}", highlight=False, markup=False)
        finish(False)
    if as_json:
        about = {"network": of or f"the one in {file}", "loss": certificate.content["loss"]}
        print_json({"proved": True} | about | dataclasses.asdict(proved))
    else:
        lines = _proof(proved, network, certificate.content["loss"], of or f"the one in {file}")
        console(False).print(*lines, sep="\n", highlight=False, markup=False, soft_wrap=True)
    finish(True)


def _proof(proved: Proved, network: Architecture, loss: str, which: str) -> list[str]:
    """What is proved, of which network, and by what."""
    lines = [f"{number(proved.at_least, proved.at_most)} of {plural(proved.parameters, 'parameter')}"]
    if proved.at_least < proved.at_most:
        lines.append(
            f"an interval, no count: {plural(proved.at_least, 'law is', 'laws are')} proved, and that there are "
            f"more than {proved.at_most} is excluded"
        )
    about = str(network).strip("<>").removeprefix("Architecture: ")
    lines.append(f"network: {which}, of {about}; loss {loss}")
    if proved.frozen:
        lines.append(
            f"frozen: {proved.frozen} numbers are constants; true of almost all values that allow these patterns"
        )
    rank = proved.parameters - proved.at_most
    lines.append(f"no more: {rank} fields and brackets are independent modulo {proved.prime}, which is a proof")
    if proved.at_least:
        lines.append(
            f"no fewer: {proved.at_least} independent laws are orthogonal to every field, modulo primes drawn just now"
        )
    lines.append("the polynomial is that of the network, which was run and written down anew, term by term")
    lines.append(f"something false would have passed with probability {proved.doubt:.0e} at most")
    return lines


def counted_with_certificate(
    arch: Architecture, loss: str, file: Path, as_json: bool, progress: Callable[[str], None]
) -> NoReturn:
    """Counts the laws of a network, writes the certificate and ends the command."""
    from lawful.graph.questions.certificate import certificate

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
            f"{number(found.at_least, found.at_most)} of {plural(found.content['claim']['parameters'], 'parameter')}",
            f"the proof is in {file}; check it with lawful certify {file}",
        )
        console(False).print(*lines, sep="\n", highlight=False, markup=False)
    finish(found.at_least == found.at_most)


def number(at_least: int, at_most: int) -> str:
    """A number of laws, or between which two it lies."""
    laws = "law" if at_most == 1 else "laws"
    return f"{at_most} independent {laws}" if at_least == at_most else f"{at_least} to {at_most} independent {laws}"
