"""All symmetries of a network: from its laws, from rotations of its wires, and from its diagram."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.module import Network
from lawful.graph.questions.derive import architecture_of, derive
from lawful.graph.questions.reading import NetworkLike, network_of, question
from lawful.theory.arguments import plural
from lawful.theory.derive.lawset import LawSet
from lawful.theory.gauge.boxes import LayoutError
from lawful.theory.gauge.contract import Site, Use
from lawful.theory.gauge.diagram import Diagram
from lawful.theory.gauge.rules import DiscardRule, LinearRule, TableRule
from lawful.theory.gauge.solution import Solution
from lawful.theory.gauge.unseen import as_computed
from lawful.theory.laws.named import Named
from lawful.theory.laws.pages import Printed
from lawful.theory.oracle.verification import refuted
from lawful.theory.parts import base, is_part
from lawful.theory.typed import typed_methods

from .continuous import from_law
from .discrete import discrete
from .given import GROUPS, expect_known
from .moves import Move
from .rotations import rotations
from .running import Setting
from .symmetry import Symmetry
from .trial import tried


@typed_methods()
class Symmetries(Printed, Named[Symmetry]):
    """The symmetries of one network, by position and by name.

    Pickled with the network and its example inputs, they are derived again when they are loaded, with their proofs.

    Attributes:
        laws: the laws that were derived on the way.
        notes: what may be missing.
        arch: the network as an architecture.
        setting: the network with its example inputs.
        diagram: the network as its rules see it; None where its axes are cut in ways that do not nest.
    """

    def __init__(
        self,
        found: Sequence[Symmetry],
        laws: LawSet,
        notes: Sequence[str],
        arch: Architecture,
        setting: Setting,
        diagram: Diagram | None = None,
    ) -> None:
        super().__init__(found)
        self.laws = laws
        self.notes = tuple(notes)
        self.arch = arch
        self.setting = setting
        self.diagram = diagram

    @cached_property
    def uses(self) -> dict[str, list[tuple[Site, Use]]]:
        """The uses of every parameter, by its name as laws read it."""
        out: dict[str, list[tuple[Site, Use]]] = {}
        for site in self.diagram.sites if self.diagram is not None else ():
            for use in site.rule.uses(site):
                out.setdefault(use.parameter, []).append((site, use))
        return out

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Numbers of every whole parameter that are read, by its path."""
        out: dict[str, int] = {}
        for name, spec in self.arch.specs().items():
            out[base(name)] = out.get(base(name), 0) + math.prod(spec.shape)
        return out

    @cached_property
    def tables(self) -> frozenset[str]:
        """The whole parameters whose rows are looked up or put before the tokens: embeddings, positions."""
        return frozenset(
            base(name)
            for name, uses in self.uses.items()
            for site, use in uses
            if isinstance(site.rule, TableRule)
            or (isinstance(site.rule, LinearRule) and site.rule.lookup and not use.constant)
        )

    @cached_property
    def biases(self) -> frozenset[str]:
        """The whole parameters that are added as they are: biases and shifts, no tables."""
        return frozenset(base(n) for n, uses in self.uses.items() if all(u.constant for _, u in uses)) - self.tables

    def home(self, parameter: str) -> str:
        """What a map calls a parameter: its module, or the parameter where its module has several maps of its own."""
        module = base(parameter).rpartition(".")[0]
        return module if module and self._maps[module] == 1 else base(parameter)

    @cached_property
    def _maps(self) -> Counter[str]:
        """How many parameters every module has besides biases and statistics."""
        named = (n.rpartition(".") for n in self.sizes if n not in self.biases)
        return Counter(module for module, _, local in named if "bias" not in local)

    def writes(self, move: Move) -> bool:
        """Whether the axis on which a parameter answers is one that it writes (the rows of a linear map), not reads."""
        for _, use in self.uses.get(move.part.parameter, ()):
            for ends, view in zip(use.axes, use.views, strict=True):
                if view == move.part.view:
                    return max(sign for _, sign in ends) > 0
        return move.power > 0

    def where(self, group: str | None = None, parameter: str | None = None) -> tuple[Symmetry, ...]:
        """Those with a group of this name, and those that move a parameter.

        Raises:
            ValueError: for a group that no symmetry has, and a parameter that none moves, if the name is a typo.
        """
        expect_known("group", group, {s.group for s in self} | set(GROUPS))
        expect_known("parameter", parameter, {p for s in self for p in s.parameters} | set(self.setting.shapes))
        return tuple(
            s for s in self if (group is None or s.group == group) and (parameter is None or parameter in s.parameters)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return symmetries, (self.setting.network, tuple(self.setting.args), dict(self.setting.kwargs))

    def __str__(self) -> str:
        """Its size, the symmetries and the notes, a line each."""
        rows = [f"{s.name}: {s.group} of shape {s.shape}, moves {', '.join(s.parameters)}" for s in self]
        return "\n".join([repr(self)[1:-1], *(f"  {row}" for row in [*rows, *(f"note: {n}" for n in self.notes)])])

    def __repr__(self) -> str:
        groups = [s.group for s in self]
        counts = ", ".join(f"{groups.count(g)} {g}" for g in dict.fromkeys(groups))
        return f"<Symmetries: {counts or 'none'}>"


@question()
def symmetries(
    network: NetworkLike, args: torch.Tensor | Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Symmetries:
    """The transformations of a network's parameters that leave its function unchanged, each with a proof.

    Args:
        network: an architecture, an expression of blocks, a spec, or a torch module, which is traced; on the meta
            device only shapes are read.
        args: example inputs of a module, a tensor or a tuple of what its forward reads; not needed for one made by
            `Architecture.to_torch`.
        kwargs: its keyword inputs.

    Returns:
        Symmetries that are exact: those behind laws (without the laws that hold up to the epsilon of a norm only, which
        `notes` counts), rotations, permutations and signs.

    Raises:
        ShapeError: for a module without inputs.
        TraceError: for a module that cannot be read.

    >>> import lawful as lw
    >>> found = symmetries(lw.families.mlp([3, 4, 2]))
    >>> [(s.group, s.shape) for s in found]
    [('positive diagonal', (4,)), ('permutation', (4,))]
    >>> print(found[0].verify().verdict)
    holds
    """
    own = network_of(network, "symmetries")
    arch = architecture_of(own, args, kwargs)
    aliases = arch.trace.aliases if arch.trace else {}
    setting = Setting(own, tuple(args), dict(kwargs or {}), aliases)
    laws = derive(arch, "mse")
    compared = arch.trace.comparison if arch.trace else None
    if compared is not None and compared.point is not None:
        false = refuted([law for law in laws if law.exact], [compared.point])
        laws = laws.without([law for law, _ in false], [f"{law.name} is refuted by a gradient" for law, _ in false])
    notes = list(laws.notes)
    rough = [law for law in laws if not law.exact]
    if rough:
        shown = ", ".join(law.name for law in rough[:3]) + (", ..." if len(rough) > 3 else "")
        notes.append(
            f"{plural(len(rough), 'law')} {'holds' if len(rough) == 1 else 'hold'} up to the epsilon of a norm; "
            f"what is behind {'it' if len(rough) == 1 else 'them'} is left out: {shown}"
        )
    found = [from_law(law, setting) for law in laws if law.exact]
    try:
        solution = Solution(arch.diagram("mse"), lax=False)
    except LayoutError as error:
        kept, lost = tried(_real(found, own, notes), setting, arch)
        notes += [*lost, f"rotations and permutations are not listed: {error}"]
        return Symmetries(kept, laws, notes, arch, setting)
    found += rotations(solution, laws, found, setting)
    unread = unread_parts(solution.drawn)
    found = [s for s in found if not unread.issuperset(m.part.parameter for m in s.moves)]
    more, said = discrete(as_computed(solution.drawn), found, setting, arch, _training(own))
    whole = _whole([*found, *more], unread, notes)
    kept, lost = tried(_real(whole, own, notes), setting, arch)
    return Symmetries(kept, laws, [*notes, *said, *lost], arch, setting, solution.drawn)


def _real(found: Sequence[Symmetry], network: object, notes: list[str]) -> list[Symmetry]:
    """Those that move real parameters alone; notes which are left out."""
    parts = network.named_modules() if isinstance(network, torch.nn.Module) else ()
    complexes = {f"{at}.{n}".lstrip(".") for at, part in parts for n in part._parameters if _is_complex(part, n)}
    kept = [s for s in found if complexes.isdisjoint(s.parameters)]
    if len(kept) < len(found):
        moved = sorted({n for s in found for n in s.parameters} & complexes)
        notes.append(f"complex parameters ({', '.join(moved)}) are not moved: symmetries that do are left out")
    return kept


def _is_complex(part: torch.nn.Module, name: str) -> bool:
    """Whether a forward reads complex numbers under the name of a parameter, held as pairs of real ones here."""
    return part._parameters[name] is not None and torch.is_complex(getattr(part, name))


def unread_parts(diagram: Diagram) -> frozenset[str]:
    """Parts of parameters that nothing reads: at another length of the inputs they are read."""
    idle: dict[str, bool] = {}
    for site in diagram.sites:
        table = isinstance(site.rule, TableRule)
        unread = table and all(isinstance(r.rule, DiscardRule) for w in site.outputs for r, _ in diagram.readers[w])
        for name in site.parameters:
            idle[name] = idle.get(name, True) and unread and is_part(name)
    return frozenset(name for name, still in idle.items() if still)


def _whole(found: Sequence[Symmetry], unread: frozenset[str], notes: list[str]) -> list[Symmetry]:
    """Without those that move parts of a parameter of which other parts are not read, and may be at another length.

    What moves the parts that are read would have to move the others alike; how these are read is not known.
    """
    cut = {base(name) for name in unread}
    kept = [s for s in found if cut.isdisjoint(base(m.part.parameter) for m in s.moves)]
    if len(kept) < len(found):
        notes.append(
            f"nothing reads {', '.join(sorted(unread))} here, which longer inputs may: "
            f"{plural(len(found) - len(kept), 'symmetry', 'symmetries')} of {', '.join(sorted(cut))} "
            f"{'is' if len(found) - len(kept) == 1 else 'are'} left out; give inputs that read all of it"
        )
    return kept


def _training(network: Architecture | torch.nn.Module) -> bool:
    """Whether dropout draws when the network is run."""
    return network.training if isinstance(network, torch.nn.Module) and not isinstance(network, Network) else True
