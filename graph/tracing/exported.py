"""A graph of ATen calls with what each of its inputs is, whoever made it: torch.export, or a run that was recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule


@dataclass(frozen=True)
class Source:
    """What an input of a graph is.

    Attributes:
        kind: a parameter, a buffer, a constant, or an input of the module.
        target: its name: that of the parameter or the buffer, or the key of the constant.
    """

    kind: InputKind
    target: str


@dataclass(frozen=True)
class Exported:
    """A graph.

    Attributes:
        graph_module: the calls.
        sources: of its placeholders, in order.
        constants: tensors by their keys.
        recorded: whether it is one run on the example.
        branches: whether other runs may take other branches.
        exact: a constant that no module holds, before it was rounded to its type.
    """

    graph_module: GraphModule
    sources: tuple[Source, ...]
    constants: Mapping[str, torch.Tensor]
    recorded: bool = False
    branches: bool = False
    exact: Callable[[torch.Tensor], torch.Tensor] = torch.clone


def of_program(program: ExportedProgram, exact: Callable[[torch.Tensor], torch.Tensor]) -> Exported:
    """The graph of an exported program.

    Args:
        program: as it was exported.
        exact: a constant that no module holds, before it was rounded.
    """
    sources = tuple(Source(s.kind, s.target or "") for s in program.graph_signature.input_specs)
    return Exported(program.graph_module, sources, program.constants, exact=exact)


__all__ = ["Exported", "Source", "of_program"]
