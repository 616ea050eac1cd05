"""A strategy of plain torch modules that are not made of our blocks.

Raw parameters and calls of torch that tie, slice, transpose, add, repeat, gate, freeze, scale and normalise parameters
and features in every way.  A module is a `Program`: data that prints as source (`program.source`), runs
(`program.module()`, `program.args()`) and shrinks.  This file is long because it lists what a module may do.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption

from .author import BATCH, WIDEST, Author
from .programs import Program
from .writer import LayerModule

GATES = ("relu", "abs", "leaky", "max0", "where", "gate", "clamp")
CURVES = ("tanh", "gelu", "silu", "sigmoid", "square", "exp", "inverse", "sqrt_abs", "rsqrt")
SMALL = (0.0, 1e-5)


class Body(Author):
    """Steps on a value whose features lie on the last axis, or on axis 1 of a signal of channels."""

    axis = -1  # of the features
    space = 0  # axes of positions after the channels

    def features(self, h: str) -> int:
        """The width of a value."""
        return self.shape(h)[self.axis]

    def vector(self, n: int) -> str:
        """A value of parameters for the features, in the shape that is added or multiplied."""
        v = self.reused((n,)) if self.chance(3) else self.weight((n,))
        return v if self.axis == -1 else self.say(f"channels{self.space}", v)

    def map(self, h: str, out: int | None = None, plain: bool = False) -> str:
        """A linear map or a convolution."""
        n, m = self.features(h), out or self.width()
        bias = not plain and self.chance(3)
        if self.axis == -1:
            w = self.weight((m, n))
            return self.say("linear_bias", h, w, self.weight((m,))) if bias else self.say("linear", h, w)
        if self.space == 1 and out is None and self.chance(8):
            return self.say("conv1d_depthwise", h, self.weight((n, 1, 1)), 0)
        kernel = 3 if min(self.shape(h)[2:]) >= 3 and self.space == 1 and self.chance(3) else 1
        if self.space == 2 and min(self.shape(h)[2:]) >= 2 and self.chance(3):
            kernel = 2
        padding = self.pick([0, 1]) if kernel > 1 else 0
        if out is not None and kernel > 1:
            kernel, padding = 1, 0
        w = self.weight((m, n, *[kernel] * self.space))
        name = f"conv{self.space}d"
        return self.say(f"{name}_bias", h, w, padding, self.weight((m,))) if bias else self.say(name, h, w, padding)

    # --- the input

    def of_input(self, x: str) -> str:
        """Something computed from the input alone."""
        n, axis = self.features(x), self.axis
        form = self.pick(["centre", "norm", "softmax", "pad", "cat", "mask", "ones", "part", "curve", "unit", "flip"])
        if form == "centre":
            return self.say("centre", x, self.pick([axis, 0]))
        if form == "norm":
            return self.say("layer_norm", x, (n,), 0.0) if axis == -1 and n > 2 else self.say("rms", x, axis, 0.0)
        if form == "softmax":
            return self.say("softmax", x, axis)
        if form in ("pad", "ones"):
            return self.say("pad" if form == "pad" else "pad_ones", x, self.pick([(0, 1), (1, 1)]))
        if form == "cat" and 2 * n <= WIDEST:
            return self.say("cat", x, x, axis)
        if form == "mask":
            return self.say("multiply", x, self.mask(self.shape(x)[-1]))
        if form == "part" and n > 2:
            return self.say("features", x, 0, 2)
        if form == "unit":
            return self.say("unit", x, axis)
        if form == "flip":
            return self.say("add", x, self.say("flip", x, axis))
        return self.say(self.pick(["relu", "abs", "square", "tanh"]), x)

    # --- one step of the body

    def step(self, h: str) -> str:
        """One of all the things that a module does to its features."""
        ways: list[Callable[[str], str]] = [
            self.map,
            self.map,
            self.map,
            self.gate,
            self.gate,
            self.gate,
            self.gates,
            self.curve,
            self.gain,
            self.residual,
            self.branches,
            self.parts,
            self.norm,
            self.masked,
            self.product,
            self.repeats,
        ]
        if self.axis == -1 and len(self.shape(h)) == 3:
            ways += [self.attention, self.attention]
        return self.pick(ways)(h)

    def gate(self, h: str) -> str:
        """A piecewise linear map."""
        return self.say(self.pick(GATES), h)

    def gates(self, h: str) -> str:
        """Gates of one pre-activation, read several times."""
        m = self.width()
        total = self.map(self.gate(h), m, plain=True)
        for _ in range(self.draw(st.integers(1, 2))):
            other = self.pick([self.gate, lambda v: v, self.twice, self.other])(h)
            total = self.say("add", total, self.map(other, m, plain=True))
        return total

    def twice(self, h: str) -> str:
        """A maximum of a value and its half."""
        return self.say("maximum", h, self.say("scale", h, 0.5))

    def other(self, h: str) -> str:
        """The step function of a value, times something else."""
        return self.say("gate_other", h, self.gate(h))

    def curve(self, h: str) -> str:
        """A smooth map, or a power."""
        return self.say(self.pick(CURVES), h)

    def gain(self, h: str) -> str:
        """Gains and shifts."""
        n, form = self.features(h), self.pick(["gain", "shift", "both"])
        if form != "shift":
            h = self.say("multiply", h, self.vector(n))
        return h if form == "gain" else self.say("plus", h, self.vector(n))

    def residual(self, h: str) -> str:
        """`h + c * f(h)`."""
        n = self.features(h)
        inner = h
        if self.chance(3):
            inner = self.gate(self.map(h))
        elif self.chance(3):
            inner = self.norm(h)
        return self.say("combine", h, self.map(inner, n), self.pick([1, 0.5, -1]))

    def branches(self, h: str) -> str:
        """`A h + c B h`, possibly with something between."""
        m = self.width()
        first, second = self.map(h, m), self.map(h, m)
        if self.chance(3):
            first = self.gate(first)
        return self.say("combine", first, second, self.pick([1, 0.5, -1, 2]))

    def parts(self, h: str) -> str:
        """Slices: alone, added, multiplied."""
        n, called = self.features(h), "features" if self.axis == -1 else "channels"
        half = n // 2
        form = self.pick(["part", "add", "multiply", "subtract", "pick", "every_second"])
        if form == "every_second" and n > 2 and self.axis == -1:
            return self.say("every_second", h)
        form = "part" if form == "every_second" else form
        if form == "pick" or half < 1:
            chosen = tuple(self.draw(st.lists(st.integers(0, n - 1), min_size=2, max_size=3)))
            return self.say("pick", h, self.axis, chosen)
        if form == "part":
            return self.say(called, h, 0, max(2, n - 1)) if n > 2 else self.say("flip", h, self.axis)
        if half < 2:
            h = self.map(h, 4)
            half = 2
        return self.say(form, self.say(called, h, 0, half), self.say(called, h, half, 2 * half))

    def norm(self, h: str) -> str:
        """Norms over the features, positions or the batch."""
        n, eps = self.features(h), self.pick(SMALL)
        forms = ["layer", "rms", "centre", "unit"] if self.axis == -1 else ["instance", "group", "batch", "centre"]
        form = self.pick([*forms, "over_norm"])
        if form == "layer":
            if n < 3:
                h, n = self.map(h, 3), 3
            kind = self.pick(["layer_norm", "layer_norm_gain", "layer_norm_affine"])
            extra = [
                self.weight((n,)) for _ in range(["layer_norm", "layer_norm_gain", "layer_norm_affine"].index(kind))
            ]
            return self.say(kind, h, (n,), eps, *extra)
        if form == "rms":
            return self.say("rms", h, -1, eps)
        if form == "centre":
            return self.say("centre", h, self.axis)
        if form == "unit":
            return self.say("unit", h, self.axis)
        if form == "over_norm":
            return self.say("over_norm", h, self.axis)
        if form == "group":
            return self.say("group_norm", h, self.pick([1, 2]) if n % 2 == 0 else 1, eps)
        if form == "batch":
            return self.say("batch_norm", h, 1e-5)
        if min(self.shape(h)[2:]) < 2:
            return self.say("centre", h, self.axis)
        return self.say("instance_norm", h, eps)

    def masked(self, h: str) -> str:
        """Fixed numbers on the features; a frozen map in the middle."""
        n = self.features(h)
        if self.axis == -1 and self.chance(2):
            w = self.fresh((self.width(), n), frozen=True)
            return self.say("linear", h, w)
        mask = self.mask(n)
        return self.say("multiply", h, mask if self.axis == -1 else self.say(f"channels{self.space}", mask))

    def product(self, h: str) -> str:
        """Products of two maps."""
        m = self.width()
        first = self.map(h, m)
        if self.chance(2):
            first = self.say(self.pick([*GATES, *CURVES]), first)
        return self.say("multiply", first, self.map(h, m))

    def repeats(self, h: str) -> str:
        """Copies and orders of the features."""
        n, axis = self.features(h), self.axis
        form = self.pick(["cat", "repeat", "flip", "roll", "pad", "mean", "cumsum"])
        if form == "cumsum":
            return self.say("cumsum", h, axis)
        if form == "cat" and 2 * n <= WIDEST:
            return self.say("cat", h, self.pick([h, self.say("negative", h)]), axis)
        if form == "repeat" and 2 * n <= WIDEST:
            return self.say("repeat", h, axis)
        if form == "pad" and axis == -1:
            return self.say("pad", h, (0, 1))
        if form == "mean":
            summed = self.say(self.pick(["mean", "sum", "amax"]), h, axis)
            return self.say("plus", h, self.say("unsqueeze", summed, axis))
        return self.say("flip" if form == "flip" else "roll", h, axis)

    def attention(self, h: str) -> str:
        """One head by hand."""
        d = 2
        q, k = self.map(h, d), self.map(h, d)
        if self.chance(3):
            k = q
        v = self.map(h, self.width())
        if self.chance(3):
            v = self.say("multiply", v, self.weight((self.features(v),)))
        scores = self.say("matmul", q, self.say("transpose", k, -1, -2))
        if self.chance(4):
            return self.say("matmul", scores, v)
        return self.say("matmul", self.say("softmax", scores, -1), v)

    def pooled(self, h: str) -> str:
        """Without positions."""
        dims = (1,) if self.axis == -1 else tuple(range(2, 2 + self.space))
        form = self.pick(["mean", "amax", "sum", "flatten"])
        if form == "flatten":
            flat = self.say("flatten", h, 1)
            if self.shape(flat)[1] <= 12:
                self.axis = -1
                return flat
            form = "mean"
        h = self.say(form, h, dims)
        self.axis = -1
        return h


def _start(body: Body) -> str:
    """An input and the first value made of it."""
    kind = body.pick(["vector", "vector", "vector", "sequence", "tokens", "signal", "image"])
    n = body.draw(st.integers(2, 4))
    if kind == "tokens":
        x = body.source((BATCH, 3), words=n + 2)
        table = body.weight((n + 2, body.width()))
        h = body.say("embedding", x, table)
        if body.chance(3):
            h = body.say("add", h, body.say("embedding", x, body.weight(body.shape(table))))
        if body.chance(2):
            h = body.say("plus", h, body.weight(body.shape(h)[1:]))
        return h
    space = {"vector": (), "sequence": (3,), "signal": (4,), "image": (3, 3)}[kind]
    if kind in ("signal", "image"):
        body.axis, body.space = 1, len(space)
        x = body.source((BATCH, n, *space))
    else:
        x = body.source((BATCH, *space, n))
    for _ in range(body.pick([0, 0, 0, 0, 1, 2])):
        x = body.of_input(x)
    return body.map(x)


@st.composite
def modules(draw: st.DrawFn, steps: int = 5) -> Program:
    """Plain torch modules, as programs.

    Raw parameters and calls of `torch.nn.functional`: nothing is taken from our blocks.  At most 60 trainable scalars,
    so that a Lie algebra is counted in about a second.

    Args:
        draw: hypothesis' own.
        steps: how many things happen between the first map and the last, at most.

    Returns:
        A program; `program.module()` is the module, `program.args()` its example inputs, `program.source` its code.
    """
    body = Body(draw)
    try:
        h = _start(body)
        kept = [h]
        for _ in range(draw(st.integers(0, steps))):
            if body.features(h) > WIDEST:
                h = body.map(h)
            h = body.step(h)
            if body.chance(8):
                same = [k for k in kept if body.shape(k) == body.shape(h)]
                if same:
                    h = body.say(body.pick(["add", "subtract", "multiply"]), h, body.pick(same))
            kept.append(h)
        positions = len(body.shape(h)) > 2
        if positions and body.chance(2):
            h = body.pooled(h)
        elif positions and body.axis == 1 and body.chance(2):
            h = body.pooled(h)
        classes = body.width(3)
        outputs = [h if body.features(h) >= 3 and body.chance(5) else body.map(h, classes)]
        if body.chance(6):
            outputs.append(body.map(h, classes))
            if body.chance(2):
                outputs = [body.say("add", *outputs)]
    except (RuntimeError, IndexError, ValueError) as error:  # shapes that do not fit: nothing to see
        raise UnsatisfiedAssumption from error
    program = body.program(outputs)
    if not 0 < program.size:
        raise UnsatisfiedAssumption
    return program


def class_axes(program: Program | LayerModule) -> tuple[int, ...]:
    """The axis of the classes of every output: 1 where positions follow channels, as in torch's losses, else -1."""
    convolved = any(c.startswith("conv") for c in program.calls)
    shapes = [tuple(z.shape) for z in program.run()]
    return tuple(1 if len(s) == 4 or (len(s) == 3 and convolved) else -1 for s in shapes)


@st.composite
def judged(draw: st.DrawFn, steps: int = 5) -> tuple[Program, tuple[str, ...]]:
    """A module with a loss for every output."""
    program = draw(modules(steps))
    return program, tuple(draw(st.sampled_from(["mse", "cross_entropy"])) for _ in program.outputs)
