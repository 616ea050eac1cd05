"""Random modules of torch's own layers, written as ordinary repositories write them.

A second generator beside `modules`: it draws layers (`nn.Conv1d`, `nn.MultiheadAttention`, `nn.GRU`), attributes and
idioms (skips, packed projections, modulation by a second input, experts, tied weights, low-rank updates) instead of raw
parameters and single calls.  A module is source code, as a user would have written it.

This file is long because it is a list of idioms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from .writer import SPACES, LayerModule, Value, Writer

LARGEST = 60  # trainable scalars
WIDEST = 12  # features in front of the last map
TIME, SIDE, WORDS, BATCH = 4, 3, 4, 5

ACTIVATIONS = (
    "nn.ReLU() nn.GELU() nn.SiLU() nn.Tanh() nn.ELU() nn.LeakyReLU(0.2) nn.PReLU() nn.Hardtanh() nn.ReLU6() "
    "nn.Softplus() nn.Softsign() nn.Mish() nn.SELU() nn.CELU() nn.Hardswish() nn.LogSigmoid() nn.Softmax({axis}) "
    "nn.Sigmoid() nn.Identity() nn.Dropout(0.0) nn.Tanhshrink() nn.GELU(approximate='tanh')"
).split()
CALLS = (
    "F.relu({h})",
    "{h}.tanh()",
    "F.silu({h})",
    "{h}.clamp(min=0)",
    "torch.where({h} > 0, {h}, 0.1 * {h})",
    "{h}.sin()",
    "{h}.abs()",
    "{h} * torch.sigmoid({h})",
    "{h}.square()",
    "F.relu({h}) ** 2",
    "F.softmax({h}, -1)",
    "torch.exp(-{h}.square())",
    "F.normalize({h}, dim=1)",
    "torch.maximum({h}, torch.zeros_like({h}))",
    "{h} * (1 - {h})",
    "torch.atan({h})",
    "F.logsigmoid({h})",
)
GATES = (
    "{a} * torch.sigmoid({b})",
    "F.silu({a}) * {b}",
    "torch.sigmoid({a}) * {a} + (1 - torch.sigmoid({a})) * {b}",
    "{a} * {b}",
    "torch.tanh({a}) * torch.sigmoid({b})",
    "F.relu({a}) * {b}",
    "torch.lerp({a}, {b}, 0.3)",
    "{a} * F.softmax({b}, 1)",
    "{a} / (1 + {b}.abs())",
    "{a} * {b}.exp()",
    "{a} * (1 + {b})",
    "torch.minimum({a}, {b})",
)
MOVES = (
    "{h}.flip({axis})",
    "torch.roll({h}, 1, {axis})",
    "torch.cat([{h}[:, :1], {h}[:, 1:]], 1)",
    "torch.cat([{h}[:, 1:], {h}[:, :1]], 1)",
    "{h} - {h}.mean({axis}, keepdim=True)",
    "torch.stack([{h}, {h}]).sum(0)",
    "{h} * 2 + 1",
    "{h}.clone().contiguous()",
    "{h} / 3",
)


class Author(Writer):
    """Writes one module in the idioms of ordinary repositories."""

    # --- maps

    def map(self, h: Value, width: int | None = None, single: bool = False) -> Value:
        """A linear layer, or a convolution of any kind."""
        n, m = h.width, width or self.pick([2, 2, 3, 3, 4])
        bias = self.pick(["", "", ", bias=False"])
        space = SPACES[h.kind]
        if not space:
            plain = f"nn.Linear({n}, {m}{bias})"
            normed = f"nn.utils.parametrizations.weight_norm({plain})"
            return self.say(f"{self.layer(normed if self.chance(0.06) else plain)}({h.name})", h.kind, m, h.length)
        if single:
            return self.say(f"{self.layer(f'nn.Conv{space}d({n}, {m}, 1{bias})')}({h.name})", h.kind, m, h.length)
        kernel = min(self.pick([1, 1, 2, 3]), h.length)
        if self.chance(0.1):
            made = self.layer(f"nn.ConvTranspose{space}d({n}, {m}, {kernel}{bias})")
            return self.say(f"{made}({h.name})", h.kind, m, h.length + kernel - 1)
        padding, groups = self.pick([0, kernel // 2]), self.pick([1, 1, 1, n])
        m = n if groups > 1 and m % n else m
        mode = self.pick(["", "", "", ", padding_mode='circular'"]) if padding else ""
        made = self.layer(f"nn.Conv{space}d({n}, {m}, {kernel}, padding={padding}, groups={groups}{bias}{mode})")
        return self.say(f"{made}({h.name})", h.kind, m, h.length + 2 * padding - kernel + 1)

    def position(self, h: Value) -> Value:
        """A learned table, or a learned gain in one of its many forms."""
        if h.kind == "sequence":
            table = self.layer(f"nn.Parameter(torch.zeros({h.length}, {h.width}))", "position")
            return self.like(f"{h.name} + {table}", h)
        if h.kind != "vector":
            return self.norm(h)
        p = self.layer(f"nn.Parameter(torch.ones({h.width}))", "scale")
        forms = ["{h} * {p}", "{h} * {p}.exp()", "{h} / {p}", "{h} + {p}.tanh()", "{h} * F.softplus({p})", "{h} - {p}"]
        return self.like(self.pick(forms).format(h=h.name, p=p), h)

    def product(self, h: Value) -> Value:
        """A raw matrix, over features or over positions."""
        if h.kind == "vector":
            m = self.pick([2, 3])
            w = self.layer(f"nn.Parameter(torch.randn({h.width}, {m}))", "matrix")
            return self.say(self.pick([f"torch.einsum('bi,ij->bj', {h.name}, {w})", f"{h.name} @ {w}"]), h.kind, m)
        if h.kind == "sequence":
            w = self.layer(f"nn.Parameter(torch.randn({h.length}, {h.length}))", "mixing")
            return self.like(self.pick([f"torch.einsum('btc,ts->bsc', {h.name}, {w})", f"{w} @ {h.name}"]), h)
        return self.pooled(h)

    # --- what stands between maps

    def activation(self, h: Value) -> Value:
        """A layer, or a call."""
        if self.chance(0.3):
            return self.like(self.pick(CALLS).replace("{h}", h.name), h)
        text = self.pick(ACTIVATIONS).format(axis=h.axis)
        return self.like(f"{self.layer(text, 'activation')}({h.name})", h)

    def norm(self, h: Value) -> Value:
        """A norm with or without an affine part."""
        eps, n, space = self.pick(["", ", eps=0.0"]), h.width, SPACES[h.kind]
        if not space and n < 3:
            h, n = self.map(h, 3), 3
        options = [
            f"nn.LayerNorm({n}{eps})",
            f"nn.LayerNorm({n}, elementwise_affine=False)",
            f"nn.RMSNorm({n}, eps=1e-3)",
        ]
        if h.kind == "vector":
            options += [
                f"nn.BatchNorm1d({n})",
                f"nn.BatchNorm1d({n}, affine=False)",
                f"nn.BatchNorm1d({n}, momentum=None)",
            ]
        if space:
            options = [f"nn.BatchNorm{space}d({n})"]
        if space and h.length > 1:
            options += [f"nn.GroupNorm(1, {n}{eps})", f"nn.GroupNorm({n}, {n})"]
            options += [f"nn.InstanceNorm{space}d({n}, affine=True)", f"nn.InstanceNorm{space}d({n})"]
        return self.like(f"{self.layer(self.pick(options), 'norm')}({h.name})", h)

    def moved(self, h: Value) -> Value:
        """Features in another order, centred, copied, added to fixed numbers."""
        return self.like(self.pick(MOVES).format(h=h.name, axis=h.axis), h)

    def residual(self, h: Value) -> Value:
        """A skip around a branch, with or without a gain."""
        inner = self.norm(h) if self.chance(0.5) else h
        inner = self.activation(self.map(inner))
        if inner.length != h.length:
            return inner
        out = self.map(inner, h.width, single=True)
        forms = ["{h} + {f}", "{h} - {f}", "0.5 * ({h} + {f})", "{h} + {g} * {f}"]
        form = self.pick(forms)
        gain = self.layer("nn.Parameter(torch.tensor(0.5))", "gain") if "{g}" in form else ""
        return self.like(form.format(h=h.name, f=out.name, g=gain), h)

    def joined(self, h: Value, kept: list[Value]) -> Value:
        """A value from before: added, multiplied, or beside it."""
        found = [k for k in kept if (k.kind, k.length) == (h.kind, h.length)]
        if not found:
            return self.residual(h)
        other = self.pick(found)
        if other.width == h.width and self.chance(0.6):
            forms = ["{h} + {k}", "{h} * {k}", "{h} - {k}", "torch.maximum({h}, {k})"]
            return self.like(self.pick(forms).format(h=h.name, k=other.name), h)
        if other.width + h.width > 6:
            return self.residual(h)
        text = f"torch.cat([{other.name}, {h.name}], {h.axis})"
        return self.say(text, h.kind, other.width + h.width, h.length)

    def gated(self, h: Value) -> Value:
        """Two maps of one value, one of which gates the other."""
        m = self.pick([2, 3])
        a, b = self.map(h, m, single=True), self.map(h, m, single=True)
        return self.like(self.pick(GATES).format(a=a.name, b=b.name), a)

    def packed(self, h: Value) -> Value:
        """One map, cut in two."""
        whole = self.map(h, 4, single=True)
        a, b = self.new("a"), self.new("b")
        self.body.append(f"{a}, {b} = {whole.name}.chunk(2, dim={h.axis})")
        forms = [f"F.silu({a}) * {b}", f"{a} * {b}.sigmoid()", f"{a} + {b}.relu()", f"F.glu({whole.name}, {h.axis})"]
        if self.chance(0.25):
            return self.like(f"torch.cat([{b}, {a}.relu()], {h.axis})", whole)
        return self.say(self.pick(forms), h.kind, 2, h.length)

    def squeezed(self, h: Value) -> Value:
        """Squeeze and excitation."""
        if h.kind == "vector":
            return self.gated(h)
        mean = {"sequence": ".mean(1)", "signal": ".mean(-1)", "image": ".mean((-2, -1))"}[h.kind]
        gate = self.map(self.say(f"{h.name}{mean}", "vector", h.width), h.width)
        spread = {"sequence": "[:, None]", "signal": "[..., None]", "image": "[:, :, None, None]"}[h.kind]
        return self.like(f"{h.name} * {gate.name}.sigmoid(){spread}", h)

    def attention(self, h: Value) -> Value:
        """Attention: a layer, a whole block, or by hand."""
        if h.kind != "sequence":
            return self.activation(h)
        h = h if h.width == 2 else self.map(h, 2)
        bias = self.pick(["", ", bias=False"])
        if self.chance(0.25):
            made = self.layer(f"nn.MultiheadAttention(2, {self.pick([1, 2])}, batch_first=True{bias})", "attention")
            return self.like(f"{made}({h.name}, {h.name}, {h.name}, need_weights=False)[0]", h)
        if self.chance(0.2):
            first = self.pick(["True", "False"])
            made = f"nn.TransformerEncoderLayer(2, 1, 2, dropout=0.0, batch_first=True, norm_first={first}{bias})"
            return self.like(f"{self.layer(made, 'encoder')}({h.name})", h)
        whole, q, k, v = self.map(h, 6), self.new("q"), self.new("k"), self.new("v")
        self.body.append(f"{q}, {k}, {v} = {whole.name}.split(2, -1)")
        causal = self.pick(["", ", is_causal=True"])
        by_hand = f"({q} @ {k}.transpose(-1, -2) / 2**0.5).softmax(-1) @ {v}"
        return self.like(self.pick([f"F.scaled_dot_product_attention({q}, {k}, {v}{causal})", by_hand]), h)

    def recurrent(self, h: Value) -> Value:
        """A recurrent layer: all its states, or the last."""
        if h.kind != "sequence":
            return self.gated(h)
        h = h if h.width == 2 else self.map(h, 2)
        kind, m = self.pick([("nn.RNN", 2), ("nn.GRU", 1), ("nn.LSTM", 1)])
        out = f"{self.layer(f'{kind}(2, {m}, batch_first=True)', 'recurrent')}({h.name})[0]"
        if self.chance(0.3):
            return self.say(f"{out}[:, -1]", "vector", m)
        return self.say(out, h.kind, m, h.length)

    def tied(self, h: Value) -> Value:
        """One layer twice: transposed, in a row, or on two values."""
        if SPACES[h.kind]:
            return self.map(h)
        curve = self.pick(["F.relu", "torch.tanh", ""])
        if self.chance(0.35):
            made = self.layer(f"nn.Linear({h.width}, 2, bias=False)", "tied")
            return self.like(f"F.linear({curve}({made}({h.name})), {made}.weight.t())", h)
        if self.chance(0.5):
            made = self.layer(
                f"nn.Sequential(nn.Linear({h.width}, {h.width}), {self.pick(['nn.ReLU()', 'nn.Tanh()'])})"
            )
            return self.like(f"{made}({made}({h.name}))", h)
        made = self.layer(f"nn.Linear({h.width}, 2)", "siamese")
        return self.say(f"{made}({h.name}) + {made}(-{h.name}).relu()", h.kind, 2, h.length)

    def updated(self, h: Value) -> Value:
        """A layer with a low-rank update, trained beside it or alone."""
        if SPACES[h.kind]:
            return self.norm(h)
        a = self.layer("nn.Parameter(torch.randn(2, 1))", "up")
        b = self.layer(f"nn.Parameter(torch.randn(1, {h.width}))", "down")
        base = self.layer(f"nn.Linear({h.width}, 2)", "base")
        if self.chance(0.5):
            self.made.append(f"{base}.requires_grad_(False)")
        forms = ["{w}({h}) + {h} @ ({a} @ {b}).t()", "{w}({h}) + 0.5 * F.linear(F.linear({h}, {b}), {a})"]
        forms += ["F.linear({h}, {w}.weight + {a} @ {b}, {w}.bias)"]
        return self.say(self.pick(forms).format(w=base, h=h.name, a=a, b=b), h.kind, 2, h.length)

    def conditioned(self, h: Value) -> Value:
        """A second input: modulates the features, stands beside them, or meets them in a bilinear layer."""
        if h.kind != "vector" or len(self.inputs) > 1:
            return self.residual(h)
        self.inputs.append(f"torch.randn({BATCH}, 2)")
        z = Value(f"x{len(self.inputs)}", "vector", 2)
        if self.chance(0.4):
            scale, shift = self.map(z, h.width), self.map(z, h.width)
            return self.like(f"(1 + {scale.name}) * {h.name} + {shift.name}", h)
        if self.chance(0.5):
            return self.map(self.say(f"torch.cat([{h.name}, {z.name}], -1)", "vector", h.width + 2))
        return self.say(f"{self.layer(f'nn.Bilinear({h.width}, 2, 2)')}({h.name}, {z.name})", "vector", 2)

    def experts(self, h: Value) -> Value:
        """Two maps, weighed by a router."""
        if h.kind != "vector":
            return self.activation(h)
        p = self.say(f"{self.map(h, 2).name}.softmax(-1)", "vector", 2)
        a, b = self.map(h, 2), self.map(h, 2)
        by_hand = f"{p.name}[:, :1] * {a.name}.relu() + {p.name}[:, 1:] * {b.name}"
        stacked = f"({p.name}.unsqueeze(-1) * torch.stack([{a.name}, {b.name}], 1)).sum(1)"
        return self.say(self.pick([by_hand, stacked]), "vector", 2)

    def pooled(self, h: Value) -> Value:
        """Without positions, or with fewer."""
        if h.kind == "vector":
            return self.activation(h)
        if h.kind == "sequence":
            ways = [".mean(1)", "[:, 0]", ".max(1).values", "[:, -1]", ".sum(1)"]
            return self.say(f"{h.name}{self.pick(ways)}", "vector", h.width)
        space = SPACES[h.kind]
        if self.chance(0.4) and h.length > 1:
            call = self.pick([f"F.max_pool{space}d", f"F.avg_pool{space}d"])
            return self.say(f"{call}({h.name}, 2, stride=1)", h.kind, h.width, h.length - 1)
        axes = "-1" if space == 1 else "(-2, -1)"
        return self.say(f"{h.name}.{self.pick(['mean', 'amax'])}({axes})", "vector", h.width)

    # --- the whole

    def start(self) -> Value:
        """An input and what is made of it first."""
        kind, n = self.pick(["vector", "vector", "sequence", "tokens", "signal", "image"]), self.pick([2, 3])
        if kind == "tokens":
            self.inputs.append(f"torch.arange({3 * BATCH}).reshape({BATCH}, 3) % {WORDS}")
            h = self.say(f"{self.layer(f'nn.Embedding({WORDS}, {n})', 'table')}(x1)", "sequence", n, 3)
            return self.position(h) if self.chance(0.5) else h
        shape = {"vector": (n,), "sequence": (3, n), "signal": (n, TIME), "image": (n, SIDE, SIDE)}[kind]
        self.inputs.append(f"torch.randn({BATCH}, {', '.join(map(str, shape))})")
        length = {"vector": 1, "sequence": 3, "signal": TIME, "image": SIDE}[kind]
        return self.map(Value("x1", kind, n, length))

    def write(self, steps: int = 4) -> LayerModule:
        """The module."""
        h = self.start()
        kept = [h]
        ways: list[Callable[[Value], Value]] = [
            self.map,
            *[self.activation] * 3,
            *[self.norm] * 2,
            *[self.residual] * 2,
        ]
        ways += [self.gated, self.packed, self.squeezed, self.attention, self.recurrent, self.tied, self.updated]
        ways += [self.conditioned, self.experts, self.product, self.position, self.pooled, self.moved]
        ways += [self.residual, functools.partial(self.joined, kept=kept)]
        for _ in range(self.random.randint(1, steps)):
            h = self.pick(ways)(self.map(h) if h.width > 6 else h)
            kept.append(h)
        if h.kind != "vector" and self.chance(0.8 if SPACES[h.kind] else 0.4):
            h = self.pooled(h)
        if SPACES[h.kind]:
            h = self.say(f"{h.name}.flatten(1)", "vector", h.width * h.length ** SPACES[h.kind])
        h = self.map(h, 3) if h.width > WIDEST or h.kind != "vector" or self.chance(0.85) else h
        heads = ", ".join(f"x{i + 1}" for i in range(len(self.inputs)))
        lines = ["class Plain(nn.Module):", "    def __init__(self):", "        super().__init__()"]
        lines += [f"        {line}" for line in self.made]
        lines += ["", f"    def forward(self, {heads}):", *(f"        {line}" for line in self.body)]
        return LayerModule("\n".join([*lines, f"        return {h.name}", ""]), tuple(self.inputs), tuple(self.names))


def layered(number: int) -> tuple[LayerModule, tuple[str, ...]]:
    """The random module of a number, with its loss: the first from there on that runs and is small enough to count.

    Args:
        number: of the module; equal numbers give equal modules.
    """
    for again in range(100):
        author = Author(1_000_003 * again + number)
        found = author.write()
        try:
            width = found.run()[0].shape[-1]
        except (RuntimeError, ValueError):  # shapes that do not fit
            continue
        if width > 1 and 0 < found.size <= LARGEST:
            return found, (author.pick(["mse", "cross_entropy"]),)
    raise RuntimeError(f"no module from {number} on is small enough")
