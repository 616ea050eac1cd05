"""Plain torch modules as data: a list of instructions that prints as source, runs, and gets smaller.

Nothing here is made of our blocks: an instruction is a call of torch, its operands are inputs, raw parameters,
constants and earlier results.

This file is long because it lists every call.
"""

from __future__ import annotations

import functools
import itertools
import linecache
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Operand = str | int | float | tuple[int, ...]  # the name of a value, or a literal

# What an instruction computes; the operands are put in by number.
CALLS: dict[str, str] = {
    # maps
    "linear": "F.linear({0}, {1})",
    "linear_bias": "F.linear({0}, {1}, {2})",
    "matmul": "{0} @ {1}",
    "conv1d": "F.conv1d({0}, {1}, padding={2})",
    "conv1d_bias": "F.conv1d({0}, {1}, {3}, padding={2})",
    "conv1d_depthwise": "F.conv1d({0}, {1}, padding={2}, groups={0}.shape[1])",
    "conv2d": "F.conv2d({0}, {1}, padding={2})",
    "conv2d_bias": "F.conv2d({0}, {1}, {3}, padding={2})",
    "embedding": "F.embedding({0}, {1})",
    # sums, products, numbers
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "scale": "{1} * {0}",
    "combine": "{0} + {2} * {1}",
    "plus": "{0} + {1}",
    "negative": "-{0}",
    "channels1": "{0}[:, None]",
    "channels2": "{0}[:, None, None]",
    # parts, repeats, order
    "features": "{0}[..., {1}:{2}]",
    "channels": "{0}[:, {1}:{2}]",
    "every_second": "{0}[..., ::2]",
    "first": "{0}[0]",
    "first_entries": "{0}[..., 0]",
    "head_of": "{0}[:{1}]",
    "tail_of": "{0}[-{1}:]",
    "cat": "torch.cat([{0}, {1}], {2})",
    "flip": "{0}.flip({1})",
    "roll": "{0}.roll(1, {1})",
    "repeat": "{0}.repeat_interleave(2, {1})",
    "pick": "{0}.index_select({1}, torch.tensor({2}))",
    "pad": "F.pad({0}, {1})",
    "pad_ones": "F.pad({0}, {1}, value=1.0)",
    "unsqueeze": "{0}.unsqueeze({1})",
    "flatten": "{0}.flatten({1})",
    "reshape": "{0}.reshape({1})",
    "transpose": "{0}.transpose({1}, {2})",
    "t": "{0}.t()",
    "expand": "{0}.expand({1})",
    "outer": "{0}[:, None] * {1}",
    "diag": "torch.diag({0})",
    "tril": "torch.tril({0})",
    # sums and means
    "sum": "{0}.sum({1})",
    "mean": "{0}.mean({1})",
    "amax": "{0}.amax({1})",
    "centre": "{0} - {0}.mean({1}, keepdim=True)",
    "unit": "F.normalize({0}, dim={1})",
    "over_norm": "{0} / {0}.norm(dim={1}, keepdim=True)",
    "cumsum": "{0}.cumsum({1})",
    # norms
    "layer_norm": "F.layer_norm({0}, {1}, eps={2})",
    "layer_norm_gain": "F.layer_norm({0}, {1}, {3}, eps={2})",
    "layer_norm_affine": "F.layer_norm({0}, {1}, {3}, {4}, eps={2})",
    "rms": "{0} * torch.rsqrt({0}.pow(2).mean({1}, keepdim=True) + {2})",
    "instance_norm": "F.instance_norm({0}, eps={1})",
    "group_norm": "F.group_norm({0}, {1}, eps={2})",
    "batch_norm": "F.batch_norm({0}, None, None, training=True, eps={1})",
    # gates and curves
    "relu": "torch.relu({0})",
    "abs": "{0}.abs()",
    "leaky": "F.leaky_relu({0}, 0.1)",
    "max0": "torch.clamp({0}, min=0)",
    "where": "torch.where({0} > 0, {0}, -0.5 * {0})",
    "gate": "{0} * ({0} > 0)",
    "gate_other": "{1} * ({0} > 0)",
    "clamp": "{0}.clamp(-1, 1)",
    "maximum": "torch.maximum({0}, {1})",
    "tanh": "torch.tanh({0})",
    "gelu": "F.gelu({0})",
    "silu": "F.silu({0})",
    "sigmoid": "torch.sigmoid({0})",
    "exp": "torch.exp({0})",
    "square": "{0} ** 2",
    "softmax": "{0}.softmax({1})",
    "inverse": "1 / {0}",
    "sqrt_abs": "torch.sqrt({0}.abs())",
    "rsqrt": "torch.rsqrt({0} ** 2)",
}


@functools.cache
def call(name: str) -> Callable[..., torch.Tensor]:
    """The function of an instruction: its line of `CALLS`, so that what is printed is what runs."""
    text = CALLS[name]
    slots = 1 + max(i for i in range(9) if f"{{{i}}}" in text)
    operands = [f"v{i}" for i in range(slots)]
    made: Callable[..., torch.Tensor] = eval(f"lambda {', '.join(operands)}: {text.format(*operands)}", SCOPE)
    return made


SCOPE: dict[str, Any] = {"torch": torch, "F": F, "nn": nn}


@dataclass(frozen=True)
class Source:
    """An input of random numbers, or of tokens below `words`."""

    name: str
    shape: tuple[int, ...]
    words: int = 0


@dataclass(frozen=True)
class Weight:
    """A raw parameter; a frozen one is not trained."""

    name: str
    shape: tuple[int, ...]
    frozen: bool = False


@dataclass(frozen=True)
class Constant:
    """A buffer of given numbers."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Step:
    """One instruction: `name` becomes what `call` makes of the operands."""

    name: str
    call: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True)
class Program:
    """A plain torch module, as data.

    `repr` gives code that builds an equal program, `source` the module as a user would have written it.

    Attributes:
        inputs: what forward takes.
        parameters: raw parameters, whatever they are used for.
        constants: buffers.
        steps: instructions, in order.
        outputs: names of the values that forward gives.
    """

    inputs: tuple[Source, ...]
    parameters: tuple[Weight, ...]
    constants: tuple[Constant, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]

    @property
    def calls(self) -> frozenset[str]:
        """The names of the instructions that it uses."""
        return frozenset(s.call for s in self.steps)

    @property
    def size(self) -> int:
        """Number of trainable scalars."""
        return sum(torch.Size(p.shape).numel() for p in self.parameters if not p.frozen)

    @property
    def source(self) -> str:
        """The class of the module, as Python source."""
        own = {p.name for p in self.parameters} | {c.name for c in self.constants}
        made = [
            f"self.{p.name} = nn.Parameter(torch.randn({', '.join(map(str, p.shape))})"
            + (", requires_grad=False)" if p.frozen else ")")
            for p in self.parameters
        ]
        made += [f'self.register_buffer("{c.name}", torch.tensor({list(c.values)}))' for c in self.constants]

        def shown(operand: Operand) -> str:
            return f"self.{operand}" if operand in own else str(operand)

        def written(step: Step) -> str:
            text = CALLS[step.call].format(*map(shown, step.operands))
            return f"{step.name} = {text}"

        body = [written(s) for s in self.steps] + [f"return {', '.join(map(shown, self.outputs))}"]
        return (
            "class Plain(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
            + textwrap.indent("\n".join(made), " " * 8)
            + f"\n\n    def forward(self, {', '.join(x.name for x in self.inputs)}):\n"
            + textwrap.indent("\n".join(body), " " * 8)
            + "\n"
        )

    def module(self, seed: int = 0) -> nn.Module:
        """The module, with random parameters; the global random state is left as it was."""
        made = compiled(self.source)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return made()

    def args(self, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """Example inputs; tokens show every word."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            torch.arange(torch.Size(x.shape).numel()).reshape(x.shape) % x.words
            if x.words
            else torch.randn(x.shape, generator=generator)
            for x in self.inputs
        )

    def run(self) -> tuple[torch.Tensor, ...]:
        """The outputs on the example inputs."""
        with torch.no_grad():
            out = self.module()(*self.args())
        return (out,) if isinstance(out, torch.Tensor) else tuple(out)

    @property
    def names(self) -> tuple[str, ...]:
        """Of its parameters and values."""
        return (*(p.name for p in self.parameters), *(s.name for s in self.steps))

    def script(self, losses: Sequence[str], kind: str, line: str) -> str:
        """A script that shows a find."""
        shapes = [
            f"torch.arange({torch.Size(x.shape).numel()}).reshape({x.shape}) % {x.words}"
            if x.words
            else f"torch.randn{x.shape}"
            for x in self.inputs
        ]
        again = f"# judge({self!r}, {tuple(losses)!r})\n"
        return reproducible(self.source, shapes, losses, kind, line) + again

    @property
    def reads_inputs(self) -> bool:
        """Whether every input reaches an output."""
        read = {o for s in self.pruned().steps for o in s.operands}
        return all(x.name in read for x in self.inputs)

    def smaller(self) -> Iterator[Program]:
        """Programs with something left out, the boldest first; not all of them run."""
        for i in range(len(self.outputs)):
            if len(self.outputs) > 1:
                yield replace(self, outputs=(*self.outputs[:i], *self.outputs[i + 1 :])).pruned()
        for i in reversed(range(len(self.steps))):
            step = self.steps[i]
            for other in dict.fromkeys(o for o in step.operands if isinstance(o, str)):
                yield self._renamed(i, other).pruned()
        for i, p in enumerate(self.parameters):
            if p.frozen:
                melted = (*self.parameters[:i], Weight(p.name, p.shape), *self.parameters[i + 1 :])
                yield replace(self, parameters=melted)
        for i, step in enumerate(self.steps):
            fewer = {"linear_bias": "linear", "layer_norm_gain": "layer_norm", "layer_norm_affine": "layer_norm_gain"}
            fewer |= {"conv1d_bias": "conv1d", "conv2d_bias": "conv2d"}
            if step.call in fewer:
                shorter = Step(step.name, fewer[step.call], step.operands[:-1])
                yield replace(self, steps=(*self.steps[:i], shorter, *self.steps[i + 1 :])).pruned()
        parameters = {p.name: p for p in self.parameters}
        for i, step in enumerate(self.steps):  # a value made of parameters becomes a parameter of its own shape
            names = [o for o in step.operands if isinstance(o, str)]
            if names and all(n in parameters for n in names):
                shape = tuple(call(step.call)(*(self._example(o, parameters) for o in step.operands)).shape)
                fresh = (*self.parameters, Weight(step.name, shape))
                yield replace(self, steps=(*self.steps[:i], *self.steps[i + 1 :]), parameters=fresh).pruned()

    def _example(self, operand: Operand, parameters: dict[str, Weight]) -> Any:
        return torch.ones(parameters[operand].shape) if isinstance(operand, str) else operand

    def _renamed(self, at: int, other: str) -> Program:
        """Without one step: what read it reads another value."""
        gone = self.steps[at].name

        def new(operand: Operand) -> Operand:
            return other if operand == gone else operand

        rest = [Step(s.name, s.call, tuple(map(new, s.operands))) for i, s in enumerate(self.steps) if i != at]
        return replace(self, steps=tuple(rest), outputs=tuple(str(new(o)) for o in self.outputs))

    def pruned(self) -> Program:
        """Without the steps, parameters and constants that no output depends on."""
        needed, kept = set(self.outputs), []
        for step in reversed(self.steps):
            if step.name in needed:
                kept.append(step)
                needed |= {o for o in step.operands if isinstance(o, str)}
        return replace(
            self,
            parameters=tuple(p for p in self.parameters if p.name in needed),
            constants=tuple(c for c in self.constants if c.name in needed),
            steps=tuple(reversed(kept)),
        )


_numbers = itertools.count()


def compiled(source: str) -> Callable[[], nn.Module]:
    """The class `Plain` of some source, whose lines tracebacks can show."""
    path = f"<plain module {next(_numbers)}>"
    linecache.cache[path] = (len(source), None, source.splitlines(True), path)
    scope = dict(SCOPE, __name__="plain")
    exec(compile(source, path, "exec"), scope)
    made: Callable[[], nn.Module] = scope["Plain"]
    return made


def reproducible(source: str, inputs: Sequence[str], losses: Sequence[str], kind: str, line: str) -> str:
    """A script that shows a find.

    Args:
        source: of the module.
        inputs: source of its example inputs.
        losses: one for every output.
        kind: of the find.
        line: what was found.
    """
    loss = repr(losses[0] if len(losses) == 1 else list(losses))
    return (
        f"# {kind}: {line}\nimport torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"
        f"import lawful as lw\n\n\n{source}\n\n"
        f"torch.manual_seed(0)\nmodel, args = Plain(), ({', '.join(inputs)},)\n"
        f"laws = lw.derive(model, {loss}, args=args)\nprint(laws, laws.exact_independent, laws.notes)\n"
        f"for law in laws:\n    print(law.name, law.exact, law.text)\n"
        f"print(laws.verify(model, args=args).verdict, lw.count(model, {loss}, args=args))\n"
    )


def shrunk(program: Program, interesting: Callable[[Program], bool], tries: int = 400) -> Program:
    """A smaller program that is still interesting: leaves out what can be left out, again and again."""
    again = True
    while again:
        again = False
        for candidate in program.smaller():
            if tries <= 0:
                return program
            tries -= 1
            try:
                good = interesting(candidate)
            except Exception:  # a candidate that does not run at all is not interesting
                good = False
            if good:
                program, again = candidate, True
                break
    return program
