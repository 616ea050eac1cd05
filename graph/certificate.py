"""Certificates: files that prove how many independent laws a network has, and are checked without trusting lawful."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lawful.blocks import ShapeError
from lawful.theory.exact.certificate import certificate_of
from lawful.theory.exact.checker import Proved, Refused, check
from lawful.theory.exact.conserved import laws_program
from lawful.theory.exact.evaluate import evaluate
from lawful.theory.exact.lowering import program_of
from lawful.theory.exact.program import Program
from lawful.theory.losses import LossError, LossLike

from .architecture import Architecture
from .engine import architecture_of, derive
from .exact import Polynomial, potential_of
from .plain import parse
from .serial import from_json, to_json

__all__ = ["Certificate", "Proved", "Refused", "certificate"]

POINTS = 4  # where network and polynomial are compared
CLOSE = 1e-10


@dataclass(frozen=True)
class Certificate:
    """Everything that proves a number of laws: network, polynomial, laws, prime, point and minors.

    Attributes:
        content: plain data (see `lawful.theory.exact.checker`).
    """

    content: Mapping[str, Any]

    @property
    def at_least(self) -> int:
        """Number of independent laws that hold."""
        return self.content["claim"]["at_least"]

    @property
    def at_most(self) -> int:
        """`D` minus the rank that was reached."""
        return self.content["claim"]["at_most"]

    def write(self, path: str | Path) -> None:
        """Writes a file for `lawful certify`."""
        Path(path).write_text(json.dumps(self.content, separators=(",", ":")) + "\n", encoding="utf-8")

    @staticmethod
    def read(path: str | Path) -> Certificate:
        """Reads a file; nothing is proved by that.

        Raises:
            Refused: if it is no JSON, or no certificate.
        """
        try:
            content = parse(Path(path).read_text(encoding="utf-8"))
        except (ShapeError, UnicodeDecodeError) as error:
            raise Refused(f"{path} is no certificate: {error}") from error
        if not isinstance(content, dict):
            raise Refused(f"{path} is no certificate: it holds a {type(content).__name__}, not an object")
        return Certificate(content)

    def check(self) -> Proved:
        """Proves everything again.

        The numbers are proved by code that shares nothing with the rest of lawful; that the polynomial is the network's
        is seen by running the network in float64.

        Raises:
            Refused: if less is proved than is said, and why.
        """
        proved = check(self.content)
        try:
            arch = from_json(json.dumps(self.content["network"]))
            found = potential_of(arch, self.content["loss"])
        except (ShapeError, LossError, TypeError) as error:
            raise Refused(f"the network cannot be built: {error}") from error
        _compare(found, self.content["potential"])
        return proved


def certificate(
    network: Architecture | torch.nn.Module,
    loss: LossLike = "mse",
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Certificate:
    """Counts the independent laws of a network exactly, and keeps the proof.

    That there are no more is proved by the rank of the gradient fields and their brackets modulo a prime (Marcotte,
    Gribonval, Peyré 2023, theorem 3.3); a rank that is too low, by an unlucky prime or point, makes `at_most` too
    large, never too small.  That there are no fewer is proved by the laws that `lawful.derive` lists: they are
    orthogonal to every field, and their gradients are independent.

    Args:
        network: an architecture that is polynomial in its parameters once its activation patterns are fixed, or a
            module, which is traced.
        loss: the loss of every output.
        args: example inputs of a module.
        kwargs: its keyword inputs.
        progress: called with a line before each level of brackets.

    Returns:
        The certificate; the number of laws lies between its `at_least` and `at_most`.

    Raises:
        NotPolynomialError: names the operation that is no polynomial.
        ShapeError: as for `lawful.derive`, and for networks that cannot be written as JSON.
    """
    arch = architecture_of(network, args, kwargs)
    found = potential_of(arch, loss)
    potential = program_of(found.function, found.parameters, found.data, found.choices)
    text, derived = json.loads(to_json(arch)), derive(arch, loss)
    laws = [law for law in derived if law.exact]
    conserved = laws_program(laws, found.parameters) if laws else None
    return Certificate(certificate_of(text, derived.loss, potential, conserved, derived.exact_independent, progress))


def _compare(network: Polynomial, written: Any) -> None:
    """Refuses a polynomial that is not the network's.

    Raises:
        Refused: says where they differ.
    """
    program = Program.from_data(written)
    shapes = {n: tuple(t.shape) for n, t in network.parameters.items()}
    data = {n: tuple(t.shape) for n, t in network.data.items()}
    if (program.parameters, program.data, program.choices) != (shapes, data, network.choices):
        raise Refused("the polynomial has other parameters or data than the network that the certificate names")
    generator = torch.Generator().manual_seed(0)
    for _ in range(POINTS):
        theta, numbers = _normal(shapes, generator), _normal(data, generator)
        chosen = {n: torch.randint(k, s, generator=generator) for n, (s, k) in network.choices.items()}
        expected = float(network.function(theta, numbers, chosen))
        draws = {n: t.numpy() for n, t in (numbers | chosen).items()}
        found = evaluate(program, {n: t.numpy() for n, t in theta.items()}, draws)
        if not abs(found - expected) <= CLOSE * (1 + abs(expected)):
            raise Refused(f"the polynomial gives {found:.6g} where the network gives {expected:.6g}")


def _normal(shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}
