"""What a law is made of, without names and sizes: equal signatures are one law in two networks."""

from __future__ import annotations

import re

from lawful.graph.architecture.block_graph import BlockGraph
from lawful.theory.laws.law import Law
from lawful.theory.laws.statement import Part

RULE, UNSEEN = "rule of ", "unseen direction"
MAPS = ("Linear", "Conv1d", "Conv2d", "Conv3d", "UnevenConv")  # one law, with the positions of the kernel summed
PASSES = ("Identity",)


def sites(law: Law, arch: BlockGraph) -> list[str]:
    """Kinds of the blocks on the wires of a law, in the order of its proof, each once."""
    nodes = set(arch.nodes)
    found: dict[str, None] = {}
    for step in law.proof.walk():
        if step.theorem.startswith(RULE):
            node = step.theorem.removeprefix(RULE)
            if node in nodes:
                found.setdefault(arch.block(node).kind)
        elif step.theorem == UNSEEN:
            for word in re.findall(r"[\w.]+", step.claim.partition(" do not see")[0]):
                if word in nodes:
                    found.setdefault(arch.block(word).kind)
    for name in law.parameters:
        kind = _owner_kind(name, arch)
        if kind:
            found.setdefault(kind)
    return list(found)


def signature(law: Law, arch: BlockGraph) -> str:
    """Kind, innermost algebra, terms (sign, block, parameter, side of the wire) and blocks on the wires, each once."""
    terms = set()
    for t in law.terms:
        sides = "".join(_side(p, arch) for p in (t.part, t.partner) if p is not None)
        if law.kind != "balance" or not sides.startswith("map.bias"):  # a bias is one more column of its map
            terms.add(f"{_factor(t.coefficient)}{sides}")
    inner = re.findall(r"[A-Z]\w*(?=\()", law.algebra)
    shape = inner[-1] if inner else law.algebra
    on_wires = {_plain(kind) for kind in sites(law, arch) if kind not in PASSES}
    return f"{law.kind} {shape} | {' '.join(sorted(terms))} | {' '.join(sorted(on_wires))}"


def _plain(kind: str) -> str:
    return "map" if kind in MAPS else kind


def _factor(coefficient: object) -> str:
    text = str(coefficient)
    return {"1": "+", "-1": "-"}.get(text, f"{text} ")


def _side(part: Part, arch: BlockGraph) -> str:
    kind = _plain(_owner_kind(part.parameter, arch)) or "?"
    local = part.parameter.rpartition(".")[2]
    turned = "T" if part.view.order != tuple(range(len(part.view.order))) else ""
    offset = "+I" if part.offset else ""
    return f"{kind}.{local}{offset}{turned}"


def _owner_kind(name: str, arch: BlockGraph) -> str:
    owner = name.rpartition(".")[0]
    nodes = set(arch.nodes)
    while owner and owner not in nodes:
        owner = owner.rpartition(".")[0]
    return arch.block(owner).kind if owner else ""
