"""A traced network as a composed one: without the names of its module, where its blocks are plain data."""

from __future__ import annotations

from lawful.blocks import ShapeError
from lawful.theory.arguments import a_or_an

from ..block_graph import BlockGraph, G
from ..shapes import ENDS

WAY_OUT = "count a smaller instance of the model: its class, or its spec, with smaller options"


def untraced(arch: G) -> G:
    """The same blocks and wires, with the parameters named by their nodes.

    Raises:
        ShapeError: for blocks that hold numbers or code of the module, and for parameters that several nodes share by a
            name of the module.
    """
    for n in arch.nodes:
        if not arch.block(n).portable:
            raise ShapeError(
                f"a traced network is shrunk only if its blocks are plain data, and {n} is "
                f"{a_or_an(arch.block(n).kind)}, which holds numbers or code of the module; {WAY_OUT}"
            )
    blocks = {n: arch.block(n) for n in arch.graph.nodes if n not in ENDS}
    found = type(arch).from_parts(blocks, arch.edges(), arch.sources("output"), arch.inputs)
    if _sizes(found) != _sizes(arch):
        raise ShapeError(f"a traced network whose module shares parameters cannot be shrunk; {WAY_OUT}")
    return found


def _sizes(arch: BlockGraph) -> list[tuple[tuple[int, ...], bool]]:
    return sorted((p.shape, p.frozen) for p in arch.parameters.values())
