"""Losses: which gradients they can send into an output, which is all that the laws of a network know of its loss.

For an output `z` let `W(z)` be the span, over all targets, of the gradients of the loss in `z` (Marcotte, Gribonval,
Peyré 2023, section 2).  Three spans cover the losses in use:

* `"all"`: every direction;
* `"shift"`: the directions of sum zero, since `z + c 1` gives the same loss: functions of a softmax or of differences;
* `"scale"`: the directions orthogonal to `z`, since `c z` gives the same loss for `c > 0`: functions of `z / |z|`.

A span belongs to one position of one example: the features are what is shifted or normalised.  A contrastive loss sees
the cosines of the outputs in a batch, so its gradient at one output is a combination of the others: where all outputs
lie in a subspace, gradients never leave it, and the subspace is conserved beside the laws of `"scale"`.

This file is long because the names of losses are read here in every form in which people write them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from .arguments import LARGEST, misfit, no_such
from .arguments import shown as said
from .loss_table import BY_ALIAS, KINDS, NAMES, LossError
from .typed import typed, typed_methods

__all__ = [
    "NAMES",
    "OWN_LOSS",
    "SPANS",
    "CrossEntropy",
    "Loss",
    "LossError",
    "LossLike",
    "expect_loss",
    "label",
    "of_own",
    "pair",
    "parse",
    "read",
    "shown",
    "spans",
    "total",
]

SPANS = ("all", "shift", "scale")
LARGEST_LOG_RATE = 20.0
OWN_LOSS = "loss"  # what a module calls the output that is its loss


@typed_methods(LossError, least={"axis": -LARGEST}, leave=("__init__",))
@dataclass(frozen=True)
class Loss:
    """The loss on one output.

    Attributes:
        name: one of `NAMES`, or another common name of one.  `nll` reads log-probabilities, all others read logits or
            values; `bce` takes any number of logits, each its own yes or no.
        weight: a positive weight per class (cross-entropy only); empty for equal ones.
        smoothing: label smoothing, at least 0 and below 1 (cross-entropy only).

    Raises:
        LossError: for an unknown name, and for options that are out of range or belong to another loss.
    """

    name: str
    weight: tuple[float, ...] = ()
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        key = str(self.name).strip().lower().replace("-", "_").replace(" ", "_")
        if key not in BY_ALIAS:
            raise LossError(f"no loss {self.name!r}; there are {', '.join(NAMES)}")
        object.__setattr__(self, "name", BY_ALIAS[key])
        weight = misfit(tuple(self.weight) if isinstance(self.weight, Sequence) else self.weight, tuple[float, ...])
        if weight or misfit(self.smoothing, float):
            named, wanted = ("weight", weight) if weight else ("smoothing", "a number")
            raise LossError(f"{self.name} has the {named} {said(getattr(self, named))}; it must be {wanted}")
        object.__setattr__(self, "weight", tuple(map(float, self.weight)))
        if self.name != "cross_entropy" and (self.weight or self.smoothing):
            raise LossError(f"{self.name} has no weight and no smoothing; only cross_entropy has")
        if not all(0 < w < float("inf") for w in self.weight):
            raise LossError(f"the class weights are {self.weight}; each must be positive, or its class is never seen")
        if not 0 <= self.smoothing < 1:
            raise LossError(f"the label smoothing is {self.smoothing}; it must be at least 0 and below 1")

    @property
    def span(self) -> str:
        """What its gradients span: one of `SPANS`."""
        return KINDS[self.name].span

    @property
    def probe(self) -> str:
        """What `pair` sends to count laws: its span, or `"batch"` where the outputs of a batch are compared."""
        return "batch" if self.name == "contrastive" else self.span

    @property
    def limit(self) -> str:
        """Which of its laws are not derived, empty where all are."""
        if self.name != "contrastive":
            return ""
        return "a contrastive loss keeps the subspace that all outputs lie in: laws of that subspace are not listed"

    @property
    def statement(self) -> str:
        """What an output under it may do, in words."""
        seen = {
            "all": "S = 0, t = 0",
            "shift": "S in span{11^T}, blind to shifts along 1",
            "scale": "S in span{I}, blind to its norm",
        }
        return f"output under {self.name}: {seen[self.span]}"

    def expect(self, features: int, output: str) -> None:
        """Checks that an output is wide enough for it.

        Raises:
            LossError: names the output.
        """
        if features < 2 and self.span != "all":
            raise LossError(
                f"{output} has one feature, on which {self.name} is constant; use bce or mse"
                " (a dict by output gives each output a loss of its own)"
            )
        if self.weight and len(self.weight) != features:
            raise LossError(f"{output} has {features} classes, but {len(self.weight)} class weights are given")

    def __call__(self, output: torch.Tensor, target: torch.Tensor, axis: int = -1) -> torch.Tensor:
        """Its value, the mean over examples.

        Args:
            output: any shape, the features on `axis`.
            target: class indices without that axis (for `contrastive`, of the partner of every row in the batch), or
                values (for `cross_entropy` also class probabilities) in the shape of the output.
            axis: the feature axis.

        Raises:
            LossError: for a target of another shape.
        """
        kind = KINDS[self.name]
        indices = kind.indices and not (self.name == "cross_entropy" and target.is_floating_point())
        fits = target.numel() * output.shape[axis] == output.numel() if indices else target.shape == output.shape
        if not fits:
            raise LossError(f"{self.name} compares {tuple(output.shape)} with a target of shape {tuple(target.shape)}")
        rows = _rows(output, axis)
        wanted = target.reshape(-1) if indices else _rows(target, axis)
        if self.weight or self.smoothing:
            weight = rows.new_tensor(self.weight) if self.weight else None
            return F.cross_entropy(rows, wanted, weight, label_smoothing=self.smoothing)
        return kind.value(rows, wanted)

    def random(self, output: torch.Tensor, generator: torch.Generator, axis: int = -1) -> torch.Tensor:
        """Its value against random targets.

        The rates `exp(z)` of a Poisson loss overflow at the outputs of a random deep network, so these are scaled down.
        """
        rows = _rows(output, axis)
        if self.name == "poisson":
            rows = rows / (rows.detach().abs().amax() / LARGEST_LOG_RATE).clamp_min(1)
        return self(rows, KINDS[self.name].target(rows, generator))

    def __str__(self) -> str:
        weight = [f"weight={','.join(map(repr, self.weight))}"] if self.weight else []
        smoothing = [f"smoothing={self.smoothing!r}"] if self.smoothing else []
        return ":".join([self.name, *weight, *smoothing])


LossLike = str | Loss | Sequence[str | Loss] | Mapping[str, str | Loss]


@typed(LossError)
def CrossEntropy(weight: Sequence[float] = (), smoothing: float = 0.0) -> Loss:
    """Softmax cross-entropy with class weights and label smoothing; neither changes its laws."""
    return Loss("cross_entropy", tuple(weight), smoothing)


def parse(text: str | Loss) -> tuple[Loss, ...]:
    """Losses from text: one name, or several with plus signs between; `cross_entropy:smoothing=0.1 + mse`.

    Raises:
        LossError: for anything else.
    """
    if isinstance(text, Loss):
        return (text,)
    if not isinstance(text, str):
        raise LossError(f"a loss is a name or a Loss, got {type(text).__name__}; there are {', '.join(NAMES)}")
    return tuple(_parse_one(part.strip()) for part in re.split(r"\+\s*(?=[A-Za-z])", text))


def expect_loss(loss: object) -> None:
    """Checks that every loss is known; whether they fit the outputs is seen when laws are derived.

    Raises:
        LossError: names what is no loss.
    """
    if isinstance(loss, Mapping):
        parts: list[object] = list(loss.values())
    else:
        parts = list(loss) if isinstance(loss, Sequence) and not isinstance(loss, (str, bytes)) else [loss]
    for part in parts:
        if not isinstance(part, (str, Loss)):
            raise LossError(f"the loss is {_no_loss(part)}")
        parse(part)


def _parse_one(text: str) -> Loss:
    name, *options = text.split(":")
    given: dict[str, tuple[float, ...]] = {}
    for option in options:
        key, equals, value = option.partition("=")
        try:
            numbers = tuple(float(v) for v in value.split(","))
        except ValueError:
            numbers = ()
        if key.strip() not in ("weight", "smoothing") or not equals or not numbers:
            raise LossError(f"option {option!r} of the loss {name} is none of weight=1,2,... and smoothing=0.1")
        given[key.strip()] = numbers
    smoothing = given.get("smoothing", (0.0,))
    if len(smoothing) > 1:
        raise LossError(f"the label smoothing is {smoothing}; it must be one number")
    return Loss(name, given.get("weight", ()), smoothing[0])


@typed(LossError, skip=("loss",))
def read(loss: LossLike, outputs: Sequence[str], also: Sequence[str] = ()) -> tuple[Loss, ...]:
    """The loss of every output.

    Args:
        loss: a name or `Loss`; several with plus signs between; a sequence in the order of the outputs; or a mapping
            from output name (or a part of it between dots) to loss.
        outputs: names of the outputs; a single loss stands for one on every output.
        also: other names of them: what a module calls its outputs.

    Raises:
        LossError: for an unknown loss, and for a number or names that do not fit.
    """
    if isinstance(loss, Mapping):
        return _by_name(loss, outputs, also)
    if isinstance(loss, (str, Loss)):
        found = parse(loss)
        if len(found) == 1:
            return found * len(outputs)
    elif isinstance(loss, Sequence):
        found = tuple(each for part in loss for each in parse(part))
    else:
        raise LossError(f"a loss is a name, a Loss, a sequence of these or a dict by output name, got {_no_loss(loss)}")
    if len(found) != len(outputs):
        raise LossError(
            f"{_number(found, 'loss', 'es')} ({label(found)}) for {_number(outputs, 'output', 's')} "
            f"({', '.join(outputs)}); give one loss for each output"
        )
    return found


@typed(LossError, skip=("loss",))
def of_own(loss: LossLike) -> tuple[Loss]:
    """The loss of a module whose one output is its loss: a number, which every loss here moves up or down.

    Args:
        loss: what was asked for; one that compares classes says what the module computes, and changes nothing.

    Raises:
        LossError: for an unknown loss, and for the loss of an output beside it.
    """
    if isinstance(loss, Mapping) and set(loss) != {OWN_LOSS}:
        other = next(name for name in loss if name != OWN_LOSS)
        raise LossError(
            f"the module computes its loss itself (its output {OWN_LOSS!r}), and no loss reads {other!r} beside it; "
            f"leave out loss=, or call the module without its labels, so that {other!r} is its output"
        )
    (found,) = read(loss, [OWN_LOSS])
    return (found if found.span == "all" else Loss("mse"),)


def _no_loss(given: object) -> str:
    """What was given for a loss, and what to write instead."""
    if name := _named(given):
        options = " (label_smoothing, weight and ignore_index change no law)" if name == "cross_entropy" else ""
        return f"{said(given)}; write {name!r}{options}"
    if isinstance(given, torch.Tensor) or (
        isinstance(given, (tuple, list)) and given and all(isinstance(x, torch.Tensor) for x in given)
    ):
        return f"{said(given)}, which is what a model reads; write args=... for it"
    own = "; a model that returns a loss of its own is for assert_lawful to judge" if callable(given) else ""
    return f"{said(given)}; give the name of one ({', '.join(NAMES)}), or a Loss{own}"


def _named(loss: object) -> str:
    """The name of a loss of torch (`nn.CrossEntropyLoss()`, `functional.mse_loss`); empty if it has none here."""
    given = loss.__name__ if hasattr(loss, "__name__") else type(loss).__name__
    plain = given.replace("_", "").lower().removesuffix("loss")
    known = {n.replace("_", ""): n for n in NAMES if n != "bce"}
    known |= {"bcewithlogits": "bce", "binarycrossentropywithlogits": "bce", "smoothl1": "huber", "kldiv": "kl"}
    return known.get(plain, "") if str(getattr(loss, "__module__", "")).startswith("torch") else ""


def _number(things: Sequence[object], name: str, plural: str) -> str:
    return f"{len(things)} {name}{plural if len(things) != 1 else ''}"


def _by_name(loss: Mapping[str, str | Loss], outputs: Sequence[str], also: Sequence[str]) -> tuple[Loss, ...]:
    found: dict[int, Loss] = {}
    own = len(also) == len(outputs) and not any(name.isdecimal() for name in also)  # numbers say nothing to people
    names = also if own else outputs
    for key, value in loss.items():
        hits = [i for i, name in enumerate(also) if name == key and len(also) == len(outputs)]
        hits = hits or [i for i, name in enumerate(outputs) if name == key]
        hits = hits or [i for i, name in enumerate(outputs) if f".{key}." in f".{name.partition(':')[0]}."]
        if len(hits) != 1:
            problem = "is no output" if not hits else "stands for several outputs"
            raise LossError(f"{key!r} {problem}; the outputs are {', '.join(names)}")
        if hits[0] in found:
            raise LossError(f"the output {names[hits[0]]} is given two losses; give it one")
        (found[hits[0]],) = parse(value)
    for i, name in enumerate(names):
        if i not in found:
            raise LossError(f"the output {name} has no loss; give one for each of {', '.join(names)}")
    return tuple(found[i] for i in range(len(outputs)))


@typed(LossError)
def label(losses: Sequence[Loss]) -> str:
    """Text that `parse` reads back: the losses with plus signs between."""
    return " + ".join(map(str, losses))


@typed(LossError)
def shown(loss: LossLike) -> str:
    """Losses as messages show them, whether they fit or not."""
    if isinstance(loss, Mapping):
        return ", ".join(f"{name}: {each}" for name, each in loss.items())
    return str(loss) if isinstance(loss, (str, Loss)) else " + ".join(map(str, loss))


@typed(LossError)
def spans(losses: Sequence[Loss]) -> tuple[str, ...]:
    """What the gradients into every output span."""
    return tuple(loss.span for loss in losses)


@typed(LossError, least={"axis": -LARGEST, "axes": -LARGEST})
def total(
    losses: Sequence[Loss], outputs: Sequence[torch.Tensor], generator: torch.Generator, axes: Sequence[int]
) -> torch.Tensor:
    """The sum of the losses against random targets, a scalar."""
    values = [m.random(z, generator, a) for m, z, a in zip(losses, outputs, axes, strict=True)]
    return sum(values[1:], start=values[0])


@typed(LossError, least={"axis": -LARGEST, "axes": -LARGEST})
def pair(probe: str, output: torch.Tensor, w: torch.Tensor, axis: int) -> torch.Tensor:
    """`<w, f(z)>`, whose gradient in `z` is anything that a loss can send as `w` runs through all tensors.

    `f` is the identity (`"all"`), the removal of the mean over the features (`"shift"`), or the division by their norm
    (`"scale"`); `"batch"` gives the cosines of all pairs of outputs with random weights.  An output of norm zero gives
    zero.  Made of operations that can be differentiated again and again.
    """
    if probe == "shift":
        w = w - w.mean(axis, keepdim=True)
        output = output - output.narrow(axis, 0, 1)  # what is equal is 0, and no sum of w that is 0 but for rounding
    elif probe in ("scale", "batch"):
        square = (output * output).sum(axis, keepdim=True)
        output = output / torch.sqrt(torch.where(square == 0, 1.0, square))
    if probe == "batch":
        return (_rows(output, axis).T @ _rows(w, axis)).square().sum()
    return (output * w).sum()


def _rows(x: torch.Tensor, axis: int) -> torch.Tensor:
    return x.movedim(axis, -1).reshape(-1, x.shape[axis]) if x.ndim else x.reshape(1, 1)


def __getattr__(name: str) -> Any:
    raise no_such("lawful.losses", name, __all__)
