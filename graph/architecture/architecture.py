"""An architecture: a graph of blocks, and the questions that are asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import torch

from lawful.blocks import Run, ShapeError
from lawful.theory.gauge.diagram import Diagram
from lawful.theory.laws.law import Law
from lawful.theory.losses import LossLike
from lawful.theory.oracle.verification import Point
from lawful.theory.typed import typed_methods

from . import batches, diagrams, forward, module, points, serial, written
from .block_graph import BlockGraph
from .shrinking import shrink

SHOWN_BLOCKS = 150  # of a network that is shown itself and not as its shrunken copy


@typed_methods(ShapeError, skip=("net", "input", "space", "loss"), least={"seed": 0})
class Architecture(BlockGraph):
    """A network as a graph of blocks; shapes are checked when it is made.

    Args:
        net: an expression of blocks.
        input: what the network reads; by default what its first block says it reads.
        space: lengths of the position axes of the input (height and width, or tokens), if the default is not wanted.

    Attributes:
        graph: a `networkx.MultiDiGraph`; nodes carry `block`, edges carry `source` and `target` port numbers.
        inputs: signals of the network's inputs.
        outputs: signals of its outputs, in the order in which the expression ends in them.
        signals: the signal on every port `(node, number)`.
        trace: where it came from, if a torch module was traced (see `lawful.trace`), else None.

    Raises:
        ShapeError: for widths that do not fit, open ports and cycles; names the node, both sides and the way out.
    """

    painter: ClassVar[Callable[..., Any] | None] = None  # draws an architecture; the front door says which

    def __repr__(self) -> str:
        """Python that makes it again; of blocks that are not plain data a summary, as `str` gives for all."""
        return written.written(self) if all(self.block(n).portable for n in self.nodes) else str(self)

    def __eq__(self, other: object) -> bool:
        """Whether another one has the same nodes, blocks, wires, inputs and names of parameters."""
        return isinstance(other, Architecture) and (self is other or written.identity(self) == written.identity(other))

    def __hash__(self) -> int:
        return hash((tuple(self.nodes), self.inputs))

    def __reduce__(self) -> tuple[Any, ...]:
        return Architecture.from_json, (self.to_json(),)

    def draw(self, path: str | Path | None = None, laws: Sequence[Law] | None = None) -> Path | str:
        """Draws the network with the laws on its wires: a file by its ending, or SVG text without a path.

        Args:
            path: ends in `.svg`, `.png`, `.pdf`, `.mmd` (Mermaid) or `.dot`.
            laws: laws derived from it; those under the squared error by default.

        Raises:
            ShapeError: for another ending, for too many blocks, and for laws of another network.
            ImportError: without matplotlib, for pictures.
        """
        if Architecture.painter is None:
            raise ShapeError("nothing draws architectures yet; import lawful, and make this one by lawful.Architecture")
        return Architecture.painter(self, path, laws)

    def to_show(self) -> tuple[Architecture, str]:
        """What is drawn where nobody asked for a picture of all blocks: of a large network its shrunken copy.

        Returns:
            The network to draw, and a sentence that says which one it is, empty for this one.

        Raises:
            ShapeError: for a large network without a small copy.
        """
        if len(self.nodes) <= SHOWN_BLOCKS:
            return self, ""
        copy = self.shrink()
        if len(copy.nodes) > SHOWN_BLOCKS:
            raise ShapeError(
                f"{len(self.nodes):,} blocks are too many to show, and so are the {len(copy.nodes):,} of its copy; "
                "draw(path) draws them all"
            )
        return copy, "The network is large: this is its shrunken copy, with one of each repeated part and narrow wires."

    def _repr_html_(self) -> str:
        try:
            shown, note = self.to_show()
            said = f"<div>{escape(str(self))} {escape(note)}</div>"
            return f'<div style="overflow:auto;max-height:40em">{shown.draw()}</div>{said}'
        except (ShapeError, ImportError) as error:
            return f"<div>{escape(str(self))} (not drawn: {escape(str(error))})</div>"

    # Each question is a function in a file of its own; the methods only give it the architecture.

    def diagram(self, loss: LossLike = "mse") -> Diagram:
        """The network as the theorems see it.

        Args:
            loss: a name for all outputs, or one for each, in their order or by name (see `theory.losses.read`).

        Raises:
            ShapeError: for losses that do not fit the outputs.
        """
        return diagrams.diagram(self, loss)

    def forward(
        self, params: Mapping[str, torch.Tensor], inputs: Sequence[torch.Tensor], run: Run | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The network's output (a tuple for several), in primitive operations that can be differentiated repeatedly.

        Args:
            params: tensors by name.
            inputs: one batch per network input; tokens as integers, everything else with the shape of its signal.
            run: gates, mode and running statistics.

        Raises:
            ShapeError: for another number of inputs.
        """
        outputs = forward.run_forward(self, params, inputs, run)
        return outputs if len(outputs) > 1 else outputs[0]

    def random_inputs(
        self, batch: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
    ) -> list[torch.Tensor]:
        """Random inputs of the right shapes; a traced network with a batch built in gets that one."""
        return batches.random_inputs(self, batch, generator, dtype)

    def random_parameters(
        self, generator: torch.Generator, dtype: torch.dtype = torch.float64
    ) -> dict[str, torch.Tensor]:
        """A generic point: every parameter random, none at the special values of an initialisation."""
        return forward.random_parameters(self, generator, dtype)

    def points(self, loss: LossLike, samples: int, seed: int, exact_norms: bool) -> list[Point]:
        """Random parameters, data and losses with their gradients; every other one has a pattern of another.

        Args:
            loss: the loss of every output (see `diagram`).
            samples: number of points.
            seed: of everything random.
            exact_norms: read every epsilon as 0.

        Raises:
            ShapeError: for losses that do not fit the outputs.
        """
        return points.points(self, loss, samples, seed, exact_norms)

    def to_torch(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.nn.Module:
        """A trainable `nn.Module` with this graph's parameter names, freshly initialised.

        Args:
            dtype: of its parameters, one of real numbers.
            seed: of the initialisation.

        Raises:
            ShapeError: for a type of other numbers.
        """
        if not dtype.is_floating_point:
            raise ShapeError(f"to_torch: dtype is {dtype}, which holds no real numbers; pass torch.float32")
        return module.Network(self, dtype, seed)

    def to_json(self) -> str:
        """The architecture as JSON (no weights)."""
        return serial.to_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Architecture:
        """Reads what `to_json` wrote; runs no code.

        Raises:
            ShapeError: for anything that is not such a file; names the place.
        """
        return serial.from_json(text, cls)

    def shrink(self) -> Architecture:
        """The same architecture with tiny axes and few repeated blocks, small enough for the oracle."""
        return shrink.shrink(self)
