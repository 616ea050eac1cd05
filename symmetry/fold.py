"""Folds: parameters move into others that can do their work; each fold is exact, or refused with its reason.

- `norms`: gains and shifts of norms into the linear maps that read them;
- `batchnorm`: BatchNorm in evaluation into the map that writes it;
- `values`: biases of values into the output bias of attention, since attention weights sum to 1.

What the diagram allows is done, and then tried: a fold that changes the outputs is taken back.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from lawful.theory.gauge.contract import Site, Use, View
from lawful.theory.gauge.rules import AttentionRule, BatchNormRule, ConcatRule, FrozenNormRule, GainRule, LinearRule
from lawful.theory.laws.statement import Part
from lawful.theory.parts import base, read

from .audit import readers_of
from .discrete import Statistics
from .export import Scaling, scalings
from .moves import put
from .running import Tensors, distance, outputs, tensors_of
from .symmetries import Symmetries, symmetries
from .symmetry import TOLERANCE, of_model, write

KINDS = ("norms", "batchnorm", "values")


@dataclass(frozen=True)
class Folded:
    """A model after folding.

    Attributes:
        model: it computes what the given one computes.
        done: what was folded into what.
        refused: what was not, with the reason.
        error: largest relative change of an output in float64.
    """

    model: torch.nn.Module
    done: tuple[str, ...]
    refused: dict[str, str]
    error: float


def fold(
    model: torch.nn.Module,
    kinds: Sequence[str] = KINDS,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    network: Symmetries | None = None,
    remove: bool = False,
    seed: int = 0,
) -> Folded:
    """Folds what can be folded exactly.

    Args:
        model: a module; it stays as it is.
        kinds: some of `norms`, `batchnorm`, `values`.
        args: example inputs.
        kwargs: keyword inputs.
        network: what `symmetries` gave for the module, if it is there.
        remove: take gains and shifts that do nothing any more out of their modules, so that a trace no longer sees
            them: then the rotations of the residual stream are among the symmetries. The state dict loses them.
        seed: of the inputs on which the result is compared.

    Raises:
        ValueError: for another kind.
        ShapeError: for a module without inputs.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    >>> _ = nn.init.normal_(model[1].weight)
    >>> found = fold(model, args=(torch.randn(2, 3),))
    >>> found.done, found.model[1].weight.tolist()
    (('gain and shift of 1 into 2',), [1.0, 1.0, 1.0, 1.0])
    """
    strange = [k for k in kinds if k not in KINDS]
    if strange:
        raise ValueError(f"no fold is called {strange[0]!r}; there are {', '.join(KINDS)}")
    found = network or symmetries(model, args=args, kwargs=kwargs)
    setting, start = of_model(found.setting, model, torch.Generator().manual_seed(seed))
    refused: dict[str, str] = {}
    now, done = dict(start), []
    makers = {"norms": _norms, "batchnorm": _batchnorms, "values": _values}
    gone: dict[str, float] = {}
    for kind in KINDS:
        if kind not in kinds or found.diagram is None:
            continue
        for said, what in makers[kind](found, now):
            if isinstance(what, str):
                refused[said] = what
                continue
            change, plain = what
            error = distance(*outputs(setting, [now, now | change], seed))
            if error > TOLERANCE or error != error:
                refused[said] = f"outputs would change by {error:.1e}"
                continue
            now |= change
            gone |= plain
            done.append(said)
    if found.diagram is None:
        refused |= {k: "the axes of the network are cut in ways that do not nest" for k in kinds}
    own = tensors_of(model)
    changed = {n: t.to(own[n].dtype) for n, t in now.items() if n in own and not torch.equal(t, start[n])}
    out = write(copy.deepcopy(model), changed, setting.aliases, True)
    if remove:
        refused |= {n: "its module does not run without it" for n in gone if not _removed(out, n, gone[n], setting)}
    return Folded(out, tuple(done), refused, distance(*outputs(setting, [start, now], seed)))


Change = tuple[Tensors, dict[str, float]]
Steps = Iterator[tuple[str, Change | str]]


def _norms(found: Symmetries, now: Tensors) -> Steps:
    """Gains and shifts behind norms."""
    diagram = found.diagram
    assert diagram is not None
    known = {s.smooth: s for s in scalings(found) if s.norm}
    for site in diagram.sites:
        rule = site.rule
        writer = diagram.writer.get(site.inputs[0]) if site.inputs else None
        if not isinstance(rule, GainRule) or rule.gain is None or writer is None:
            continue
        if isinstance(writer.rule, LinearRule | BatchNormRule | FrozenNormRule):
            continue  # a scale of a layer, and norms that another fold is about
        norm = base(rule.gain).rpartition(".")[0]
        readers = diagram.readers[site.outputs[0]]
        if norm not in known:
            others = [s for s, _ in readers if not isinstance(s.rule, LinearRule)]
            tied = [
                s.rule.weight
                for s, _ in readers
                if isinstance(s.rule, LinearRule) and len(found.uses[s.rule.weight]) > 1
            ]
            why = f"{', '.join(tied)} is tied, and its other use would change" if tied else readers_of(found, norm)
            if others:
                why = "it is read by " + ", ".join(f"{s.name} ({s.rule.statement})" for s in others)
            yield f"gain of {norm}", why
            continue
        yield _norm(found, known[norm], rule, [s for s, _ in readers], now)


def _norm(
    found: Symmetries, known: Scaling, rule: GainRule, readers: Sequence[Site], now: Tensors
) -> tuple[str, Change | str]:
    assert rule.gain is not None
    gain = now[rule.gain] + float(rule.offset)
    plain = 1.0 - float(rule.offset)
    shift = now[rule.bias] if rule.bias else torch.zeros_like(gain)
    what = "gain and shift" if rule.bias else "gain"
    said = f"{what} of {known.smooth} into {', '.join(known.balance)}"
    work = dict(now)
    for site in readers:
        linear = site.rule
        assert isinstance(linear, LinearRule)
        use = next(u for u in linear.uses(site) if u.parameter == linear.weight)
        part = _reading(use, len(gain), site.inputs[0])
        if bool((shift != 0).any()):
            if linear.bias is None:
                return f"{what} of {known.smooth}", f"{base(linear.weight)} has no bias that could take the shift"
            if not linear.keeps_constants:
                return f"{what} of {known.smooth}", f"{base(linear.weight)} pads with zeros, which no bias can undo"
            x = part.read(read(linear.weight, work))
            step = _taken(x, shift, linear)
            bias = next(u for u in linear.uses(site) if u.parameter == linear.bias)
            whole = Part(linear.bias, bias.views[0], (len(step),), ((0, len(step)),), (len(step),), (0,))
            work[base(linear.bias)] = put(whole, work, lambda b, s=step: b + s.reshape(b.shape))
        work[base(linear.weight)] = put(part, work, lambda x: x * gain.reshape(-1, 1, 1))
    work[rule.gain] = torch.full_like(gain, plain)
    empty = {rule.gain: plain}
    if rule.bias:
        work[rule.bias] = torch.zeros_like(shift)
        empty[rule.bias] = 0.0
    return said, ({n: t for n, t in work.items() if t is not now[n]}, empty)


def _reading(use: Use, size: int, wire: int) -> Part:
    """The axis of a parameter along which a wire is read."""
    axis = next(i for i, ends in enumerate(use.axes) if any(w == wire and sign < 0 for w, sign in ends))
    return Part(use.parameter, use.views[axis], (size,), ((0, size),), (size,), (0,), Fraction(0))


def _taken(x: torch.Tensor, shift: torch.Tensor, linear: LinearRule) -> torch.Tensor:
    """What a linear map makes of a constant, from its weight as `(in, 1, out / groups * kernel)`."""
    if linear.groups == 1:
        out = linear.shape_[1] if linear.transposed else linear.shape_[0]
        return (x * shift.reshape(-1, 1, 1)).sum((0, 1)).reshape(out, -1).sum(1)
    outs = linear.shape_[0] // linear.groups
    each = (x * shift.reshape(-1, 1, 1)).reshape(linear.groups, -1, outs, x.shape[-1] // outs)
    return each.sum((1, 3)).reshape(-1)


def _batchnorms(found: Symmetries, now: Tensors) -> Steps:
    """BatchNorm in evaluation: a fixed gain and shift, which the map before it takes."""
    diagram = found.diagram
    assert diagram is not None
    statistics = Statistics(diagram, found.setting, found.arch)
    eps = {n: float(m.eps) for n, m in _modules(found) if isinstance(getattr(m, "eps", None), float)}
    for site in diagram.sites:
        if not isinstance(site.rule, FrozenNormRule):
            continue
        names = statistics.on(site.outputs[0])
        writer, readers = diagram.writer.get(site.inputs[0]), diagram.readers[site.inputs[0]]
        behind = [s.rule for s, _ in diagram.readers[site.outputs[0]]]
        home = names[0].rpartition(".")[0] if names else site.name
        if len(names) != 2 or home not in eps:
            yield home, "its statistics are no buffers of the module"
        elif writer is None or not isinstance(writer.rule, LinearRule) or len(readers) > 1:
            others = ", ".join(s.name for s, _ in readers if s is not site)
            yield home, f"what it reads is read by {others} too" if others else "no linear map writes what it reads"
        elif len(found.uses[writer.rule.weight]) > 1:
            yield home, f"{writer.rule.weight} is used elsewhere too"
        elif (
            len(behind) != 1 or not isinstance(behind[0], GainRule) or behind[0].gain is None or behind[0].bias is None
        ):
            yield home, "it has no gain and shift of its own"
        else:
            yield _batchnorm(writer, behind[0], names, eps[home], home, now)


def _modules(found: Symmetries) -> list[tuple[str, torch.nn.Module]]:
    network = found.setting.network
    return list(network.named_modules()) if isinstance(network, torch.nn.Module) else []


def _batchnorm(
    site: Site, gain: GainRule, names: Sequence[str], eps: float, home: str, now: Tensors
) -> tuple[str, Change | str]:
    linear = site.rule
    assert isinstance(linear, LinearRule) and gain.gain is not None and gain.bias is not None
    mean, var = now[names[0]], now[names[1]]
    factor = now[gain.gain] / torch.sqrt(var + eps)
    work = dict(now)
    for use in linear.uses(site):
        axis = next(i for i, ends in enumerate(use.axes) if ends[0] == (site.outputs[0], 1))
        n = len(factor)
        part = Part(use.parameter, use.views[axis], (n,), ((0, n),), (n,), (0,))
        work[base(use.parameter)] = put(part, work, lambda x: x * factor.reshape(-1, *[1] * (x.ndim - 1)))
    work[gain.bias] = now[gain.bias] - mean * factor
    work[gain.gain] = torch.full_like(factor, (1 + eps) ** 0.5)
    work[names[0]], work[names[1]] = torch.zeros_like(mean), torch.ones_like(var)
    return f"statistics and gain of {home} into {base(linear.weight).rpartition('.')[0]}", (
        {n: t for n, t in work.items() if t is not now[n]},
        {},
    )


def _values(found: Symmetries, now: Tensors) -> Steps:
    """A constant of the values is one of the output: the weights of a query sum to 1."""
    diagram = found.diagram
    assert diagram is not None
    for site in diagram.sites:
        rule = site.rule
        if not isinstance(rule, AttentionRule):
            continue
        v, y = site.inputs[2], site.outputs[0]
        readers, (writer, start) = diagram.readers[y], _written(found, v)
        if writer is None or not isinstance(writer.rule, LinearRule) or writer.rule.bias is None:
            continue
        bias = writer.rule.bias
        reader = readers[0][0].rule if len(readers) == 1 else None
        if not rule.normalised or rule.sink is not None or (rule.noisy and found.setting.network.training):  # type: ignore[union-attr]
            yield bias, "the weights of a query do not sum to 1"
        elif (
            len(diagram.readers[v]) > 1
            or not isinstance(reader, LinearRule)
            or reader.bias is None
            or reader.groups > 1
        ):
            why = (
                "the values are read elsewhere too"
                if len(diagram.readers[v]) > 1
                else "no linear map with a bias reads it"
            )
            yield bias, why
        elif len(found.uses[bias]) > 1 or len(found.uses[reader.bias]) > 1:
            yield bias, "it is used elsewhere too"
        else:
            copies, n, width = rule.heads // rule.kv_heads, diagram.wires[y].size, diagram.wires[v].size
            size = read(bias, now).numel()
            mine = Part(bias, _view(found, bias), (size,), ((start, start + width),), (width,), (0,))
            value = mine.read(read(bias, now)).reshape(rule.kv_heads, 1, -1).expand(-1, copies, -1).reshape(-1)
            use = next(u for u in reader.uses(readers[0][0]) if u.parameter == reader.weight)
            x = _reading(use, n, y).read(read(reader.weight, now))
            step = (x * value.reshape(-1, 1, 1)).sum((0, 1))
            work = dict(now)
            whole = Part(reader.bias, _view(found, reader.bias), (len(step),), ((0, len(step)),), (len(step),), (0,))
            work[base(reader.bias)] = put(whole, work, lambda b, s=step: b + s.reshape(b.shape))
            work[base(bias)] = put(mine, work, torch.zeros_like)
            yield f"{bias} into {reader.bias}", ({k: t for k, t in work.items() if t is not now[k]}, {})


def _written(found: Symmetries, w: int) -> tuple[Site | None, int]:
    """The map that writes a wire, and where the wire begins in what it writes (packed projections are cut)."""
    diagram = found.diagram
    assert diagram is not None
    writer = diagram.writer.get(w)
    if writer is None or not isinstance(writer.rule, ConcatRule) or not writer.rule.cut:
        return writer, 0
    before = writer.outputs[: writer.outputs.index(w)]
    whole = writer.inputs[0]
    alone = len(diagram.readers[whole]) == 1
    return (diagram.writer.get(whole) if alone else None), sum(diagram.wires[v].size for v in before)


def _view(found: Symmetries, name: str) -> View:
    return found.uses[name][0][1].views[0]


def _removed(model: torch.nn.Module, name: str, value: float, setting: Any) -> bool:
    """Takes a gain or shift that does nothing out of its module; whether the module still runs."""
    home, _, local = name.rpartition(".")
    module = model.get_submodule(home)
    held = module._parameters.pop(local)
    layers = torch.nn.LayerNorm | torch.nn.RMSNorm | torch.nn.GroupNorm
    if isinstance(module, layers):
        module.register_parameter(local, None)
    else:
        module.__dict__[local] = value
    try:
        with torch.no_grad():
            model(*setting.args, **setting.kwargs)
    except Exception:  # whatever a user's module does without its parameter
        module.__dict__.pop(local, None)
        module.register_parameter(local, held)
        return False
    return True
