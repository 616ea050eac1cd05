"""Certificates: files that prove how many independent laws a network has, and are checked without trusting lawful."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lawful.blocks import ShapeError
from lawful.theory.arguments import of_right_kinds
from lawful.theory.files import expect_writable
from lawful.theory.laws.pages import Printed
from lawful.theory.losses import LossError, LossLike
from lawful.theory.oracle.exact.certificate import certificate_of
from lawful.theory.oracle.exact.checker import MALFORMED, Proved, Refused, check, same
from lawful.theory.oracle.exact.evaluate import evaluate
from lawful.theory.oracle.exact.program import FROZEN, NotPolynomialError, Program
from lawful.theory.refusals import refused
from lawful.theory.typed import typed_methods

from ..architecture.architecture import Architecture
from ..architecture.plain import parse
from ..architecture.serial import from_json, to_json
from ..architecture.shapes import ENDS
from .certified import conserved
from .derive import architecture_of, derive
from .exact import Polynomial, potential_of
from .reading import NetworkLike, question

__all__ = ["Certificate", "Proved", "Refused", "certificate"]

POINTS = 4  # where network and polynomial are compared
CLOSE = 1e-10


@typed_methods(leave=("__init__",))
@dataclass(frozen=True, repr=False)
@of_right_kinds
class Certificate(Printed):
    """Everything that proves a number of laws: network, polynomial, laws, prime, point and minors.

    Attributes:
        content: plain data (see `lawful.theory.oracle.exact.checker`).
    """

    content: Mapping[str, Any]

    @property
    def gist(self) -> str:
        """What it claims, which `check` proves."""
        n, m = self.at_least, self.at_most
        return f"claims {n if n == m else f'from {n} to {m}'} independent laws; check() proves it"

    def __str__(self) -> str:
        named = [f"  {k}: {v}" for k, v in self.content.items() if isinstance(v, (str, int, float))]
        return "\n".join([f"certificate that {self.gist}", *named])

    @property
    def at_least(self) -> int:
        """Number of independent laws that hold."""
        return self.content["claim"]["at_least"]

    @property
    def at_most(self) -> int:
        """`D` minus the rank that was reached."""
        return self.content["claim"]["at_most"]

    def write(self, path: str | Path) -> None:
        """Writes a file for `lawful certify`.

        Raises:
            ValueError: for a file that cannot be written.
        """
        expect_writable(path).write_text(json.dumps(self.content, separators=(",", ":")) + "\n", encoding="utf-8")

    @staticmethod
    def read(path: str | Path) -> Certificate:
        """Reads a file; nothing is proved by that.

        Raises:
            Refused: if it cannot be read, is no JSON, or no certificate.
        """
        try:
            content = parse(Path(path).read_text(encoding="utf-8"))
        except (ShapeError, UnicodeDecodeError) as error:
            raise Refused(f"{path} is no certificate: {error}") from error
        except OSError as error:
            raise Refused(f"cannot read {path}: {error.strerror}; name a file that certificate.write made") from error
        if not isinstance(content, dict):
            raise Refused(f"{path} is no certificate: it holds a {type(content).__name__}, not an object")
        return Certificate(content)

    @property
    def network(self) -> Architecture:
        """The network that the file names, with the names of its parameters.

        Raises:
            Refused: if it cannot be built.
        """
        try:
            arch = from_json(json.dumps(self.content["network"]), Architecture)
            names = {str(n): {str(k): str(v) for k, v in own.items()} for n, own in self.content["names"].items()}
            return renamed(arch, names)
        except (ShapeError, *MALFORMED) as error:
            raise Refused(f"the network cannot be built: {error}") from error

    def check(self, network: Architecture | None = None) -> Proved:
        """Proves everything again, and that it is about a network.

        The numbers are proved by code that shares nothing with the rest of lawful.  Then the network runs once and its
        polynomial is written down anew; that of the file must be the same polynomial, exactly: they are compared modulo
        primes and at points that are drawn now (see `checker.same`).  That what was written down is what the network
        computes is seen by running it in float64 as well.

        Args:
            network: that the certificate should be about; the one that the file names if not given.

        Returns:
            What is proved; its `doubt` includes that the polynomials differ and nothing showed it.

        Raises:
            Refused: if less is proved than is said, or about another network, and why.
        """
        proved = check(self.content)
        arch = self.network if network is None else network
        try:
            self._expect_size(arch)
            found = potential_of(arch, self.content["loss"])
            program = found.program
            doubt = same(self.content["potential"], json.loads(json.dumps(program.to_data())))
            _run(found, program)
        except (ShapeError, LossError, NotPolynomialError, RuntimeError, *MALFORMED) as error:
            raise Refused(f"the network cannot be compared with the polynomial: {error}") from error
        return replace(proved, doubt=proved.doubt + doubt)

    def _expect_size(self, arch: Architecture) -> None:
        """Refuses a network of another size before it is run, which may take any memory."""
        own = {n: list(p.shape) for n, p in arch.parameters.items()}
        written = self.content["potential"]
        known = written["parameters"] | {n.removeprefix(FROZEN): s for n, s in written["frozen"].items()}
        for name in own.keys() ^ known.keys() or [n for n in own if own[n] != known[n]]:
            raise Refused(f"the network and the polynomial differ in their parameters: {name} is not the same in both")


@question()
def certificate(
    network: NetworkLike,
    loss: LossLike = "mse",
    *,
    args: torch.Tensor | Sequence[Any] = (),
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
    arch = architecture_of(network, tuple(args), kwargs)
    with refused("the network cannot be certified", "certify the part without it", ShapeError):
        found = potential_of(arch, loss)
        potential = found.program
    if unwritten := [n for n in arch.nodes if not arch.block(n).portable]:
        raise ShapeError(
            f"{unwritten[0]} is computed by code of the module, and a certificate names its network by plain data; "
            "use lw.count(module, args=..., exact=True), or certify the part without that operation"
        )
    text, names = json.loads(to_json(arch)), {n: arch.parameter_names(n) for n in arch.nodes}
    derived = derive(arch, loss)
    laws = conserved([law for law in derived if law.exact], potential, found.parameters, found.frozen)
    return Certificate(certificate_of(text, names, derived.loss, potential, laws, derived.exact_independent, progress))


def renamed(arch: Architecture, names: Mapping[str, Mapping[str, str]]) -> Architecture:
    """An architecture whose parameters have other names (those of the module that it was traced from).

    Args:
        arch: the network.
        names: for every node the names by local name; nodes that name one parameter share it.

    Raises:
        ShapeError: for names that do not fit the nodes, and for one name for parameters of several kinds.
    """
    own, specs, frozen = {n: arch.parameter_names(n) for n in arch.nodes}, arch.specs(), arch.frozen
    if {n: set(k) for n, k in names.items()} != {n: set(k) for n, k in own.items()}:
        raise ShapeError("the names of the parameters are not those of the blocks; write the file again")
    new: dict[str, str] = {}
    kinds: dict[str, tuple[tuple[int, ...], bool]] = {}
    for node, local in ((n, k) for n, found in own.items() for k in found):
        old, name = own[node][local], names[node][local]
        kind = (specs[old].shape, old in frozen)
        if new.setdefault(old, name) != name or kinds.setdefault(name, kind) != kind:
            raise ShapeError(f"{name} names parameters of two kinds; give them two names")
    ends = (arch.edges(), arch.sources("output"), arch.inputs)
    return Architecture.from_parts({n: arch.block(n) for n in arch.graph.nodes if n not in ENDS}, *ends, names)


def _run(network: Polynomial, program: Program) -> None:
    """Refuses a polynomial that does not give what the network gives in floats.

    Raises:
        Refused: says where they differ.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(POINTS):
        theta, numbers = (_normal(t, generator) for t in (network.parameters, network.data | network.frozen))
        chosen = {n: torch.randint(k, s, generator=generator) for n, (s, k) in network.choices.items()}
        expected = float(network.function(theta, numbers, chosen))
        draws = {n: t.numpy() for n, t in (numbers | chosen).items()}
        found = evaluate(program, {n: t.numpy() for n, t in theta.items()}, draws)
        if not abs(found - expected) <= CLOSE * (1 + abs(expected)):
            raise Refused(f"the polynomial gives {found:.6g} where the network gives {expected:.6g}")


def _normal(like: Mapping[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {n: torch.randn(t.shape, generator=generator, dtype=torch.float64) for n, t in like.items()}
