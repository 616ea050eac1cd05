"""The networks that tracing compares, as functions of parameters and inputs, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg
from torch.nn.functional import multi_head_attention_forward, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from lawful.theory.oracle.lending.lent import Lent
from lawful.theory.oracle.modules import as_double, whole_numbers

from .calls import FlatCall, Outputs
from .noise import Fed, drawn_again
from .places import place_of
from .program import Program

DROPOUTS = frozenset(
    {"dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d"}
)
ATTENTION = (scaled_dot_product_attention, torch.ops.aten.scaled_dot_product_attention.default)
RECURRENT = tuple(getattr(torch.ops.aten, n).input for n in ("lstm", "gru", "rnn_tanh", "rnn_relu"))

Tensors = dict[str, torch.Tensor]
Inputs = list[torch.Tensor]
Forward = Callable[[Tensors, Inputs], tuple[torch.Tensor, ...]]


class Unprepared(RuntimeError):
    """What stands before all parameters does not run with these inputs: sizes that were traced are built in."""


def batch_of(program: Program) -> int:
    """The batch size that was traced: the leading size of the first input that has one."""
    return next((i.example.shape[0] for i in program.inputs if i.example.ndim), 1)


def draw_inputs(program: Program, batch: int, generator: torch.Generator, whole: str = "free") -> Inputs:
    """Random inputs of a batch size, like the examples of a program, in float64.

    Inputs whose leading size is not that of the batch keep their shape.  Masks (of booleans, or with `mask` in their
    name) are repeated; integers are drawn as `whole_numbers` says.  A recorded run knows its example only.
    """
    traced, out = batch_of(program), []
    for each in program.inputs:
        example = each.example
        if program.recorded:
            out.append(as_double(example))
            continue
        batched = example.ndim > 0 and example.shape[0] == traced
        shape = (batch, *example.shape[1:]) if batched else example.shape
        if example.dtype == torch.bool or "mask" in each.name:
            kept = example[torch.arange(batch) % traced] if batched else example
            out.append(as_double(kept))
        elif each.draw:
            out.append(drawn_again(each.draw, example, shape[:1], generator).to(example.device))
        elif example.is_floating_point():
            out.append(torch.randn(shape, generator=generator, dtype=torch.float64).to(example.device))
        else:
            out.append(whole_numbers(example, shape, generator, whole).to(example.device))
    return out


def with_noise(program: Program, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The inputs of a module with the random numbers that its forward draws behind them, drawn anew."""
    drawn = [each for each in program.inputs if each.draw]
    seed = int(torch.randint(2**31, ())) if drawn else 0
    generator, traced = torch.Generator().manual_seed(seed), batch_of(program)
    out = list(tensors)
    for each in drawn:
        shape = each.example.shape
        batched = shape[:1] == (traced,) and tensors and tensors[0].ndim
        lead = tensors[0].shape[:1] if batched else shape[:1]
        again = drawn_again(each.draw, each.example, lead, generator)
        out.append(again.to(tensors[0].device if tensors else "cpu"))
    return out


def program_forward(program: Program) -> Forward:
    """The exported graph itself as a function, for inputs of the traced shape; its gradients are autograd's own."""

    def forward(parameters: Tensors, inputs: Inputs) -> tuple[torch.Tensor, ...]:
        env: dict[Node, Any] = {}
        for _ in calls(program, parameters, inputs, env):
            pass
        return tuple(env[node] for _, node in program.outputs)

    return forward


def calls(program: Program, parameters: Tensors, inputs: Inputs, env: dict[Node, Any]) -> Iterator[Node]:
    """Every call of the exported graph, once its value is in `env`."""
    env |= {node: parameters[n] for node, n in program.parameters.items()}
    env |= {node: as_double(b) for node, (_, b) in program.buffers.items()}
    env |= {node: as_double(c) for node, c in program.constants.items()}
    env |= {i.node: x for i, x in zip(program.inputs, inputs, strict=True)}
    for node in program.graph.nodes:
        if node.op != "placeholder":
            env[node] = node.target(*map_arg(node.args, env.__getitem__), **map_arg(node.kwargs, env.__getitem__))
            yield node


def first_not_a_number(program: Program, parameters: Tensors, inputs: Inputs) -> str:
    """Where the first call stands that makes what is not a number of numbers; empty if none is seen.

    Args:
        program: what was traced.
        parameters: by canonical name.
        inputs: of the traced shape.
    """
    env: dict[Node, Any] = {}
    try:
        with torch.no_grad():
            for node in calls(program, parameters, inputs, env):
                if any(t.isnan().any() for t in _pytree.tree_leaves(env[node]) if isinstance(t, torch.Tensor)):
                    return str(place_of(node))
    except Exception:  # a kernel that knows no float64
        return ""
    return ""


class ModuleRun:
    """The user's own module as a function of its parameters and inputs, with the gradients that its backward leaves.

    Submodules without parameters, buffers and children are in evaluation mode: training could only mean randomness.

    Args:
        program: what was traced of it.
        own: the module, lent in float64.
    """

    def __init__(self, program: Program, own: Lent) -> None:
        self.program = program
        self.own = own
        self._found: list[Outputs] = []
        for each in own.module.modules():
            if isinstance(each, torch.nn.RNNBase | torch.nn.MultiheadAttention):
                each.dropout = 0.0
            if not any(True for _ in chain(each.parameters(), each.buffers(), each.children())):
                each.eval()
        self._flat = FlatCall(own.module, program.call, self._found.append)

    def __call__(self, inputs: Inputs) -> tuple[torch.Tensor, ...]:
        """The outputs at what the parameters and everything else are now."""
        self._found.clear()
        own = [x for each, x in zip(self.program.inputs, inputs, strict=True) if not each.draw]
        noise = [inputs[d] if isinstance(d, int) else d for d in self.program.draws]
        with Fed(noise) if noise else nullcontext():
            self._flat(*(x.clone() for x in own))  # it may write into them
        tensors = self._found[-1].tensors
        return tuple(tensors[n] for n, _ in self.program.outputs)

    @property
    def drawn(self) -> str:
        """Whose random numbers, beside those of torch, the last run drew."""
        return self._found[-1].drawn


@contextmanager
def dropout_off() -> Iterator[None]:
    """Inside, the functions of dropout give back what they get."""
    with _NoDropout():
        yield


class _NoDropout(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if getattr(func, "__name__", "").partition(".")[0].removesuffix("_") in DROPOUTS:
            return args[0] if args else options["input"]
        if func is multi_head_attention_forward:
            options["training"] = False
        elif func in ATTENTION and len(args) > 4:
            args = (*args[:4], 0.0, *args[5:])
        elif func in ATTENTION:
            options["dropout_p"] = 0.0
        elif func in RECURRENT:
            args = (*args[:5], 0.0, *args[6:])
        return func(*args, **options)
