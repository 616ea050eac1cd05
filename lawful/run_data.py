"""Data for `lawful train`, in the shape that a network reads: digits, text, or a file of arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lawful.blocks import Signal
from lawful.graph.architecture.architecture import Architecture
from lawful.theory.loss_table import KINDS, NAMES
from lawful.theory.losses import Loss, LossError, parse

from .bad_input import BadInput
from .demo_networks import digits, text

SIGNED = ("soft_margin", "binary_hinge")  # losses that read -1 and 1
TRAINED = tuple(n for n in NAMES if n != "contrastive")


def batches(
    arch: Architecture, data: str, size: int, steps: int, seed: int, dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of inputs and targets.

    Args:
        arch: the network; it must have one input and one output.
        data: `digits`, `text`, or a `.npz` file with the arrays `x` and `y`, one row per example.
        size: examples in a batch.
        steps: number of batches.
        seed: of the order.
        dtype: of inputs that are no tokens.

    Raises:
        BadInput: for data that do not fit the network.
    """
    if len(arch.inputs) != 1 or len(arch.outputs) != 1:
        raise BadInput(
            f"the network has {len(arch.inputs)} inputs and {len(arch.outputs)} outputs, train needs one of each; "
            "use lw.Ledger in a loop of your own"
        )
    signal = arch.inputs[0]
    x, y = _whole(data, signal, seed)
    if not len(x):
        raise BadInput(f"{data} has no examples")
    if y.dtype == torch.int64 and arch.outputs[0].features <= int(y.max()):
        raise BadInput(f"{data} has classes up to {int(y.max())}, the network has {arch.outputs[0].features} outputs")
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(x), (size,), generator=generator)
        yield (
            (x[rows] if signal.tokens else x[rows].to(dtype)),
            y[rows] if y.dtype == torch.int64 else y[rows].to(dtype),
        )


def chosen_loss(name: str | None, classes: bool, data: str) -> Loss:
    """The loss of a run.

    Args:
        name: what is asked for; cross-entropy for classes and the squared error for numbers where it is None.
        classes: whether the targets are classes.
        data: where they are from.

    Raises:
        BadInput: for a loss that there is not, or that reads other targets.
    """
    if name is None:
        return Loss("cross_entropy" if classes else "mse")
    try:
        found = parse(name)
    except LossError as error:
        raise BadInput(str(error)) from error
    if len(found) != 1 or found[0].name == "contrastive":
        raise BadInput(f"--loss {name} is no loss of one example; write one of {', '.join(TRAINED)}")
    if KINDS[found[0].name].indices and not classes:
        raise BadInput(f"{found[0].name} reads classes, and {data} has numbers as targets; write --loss mse")
    return found[0]


def as_targets(y: Tensor, loss: Loss, features: int) -> Tensor:
    """Targets in the form that a loss reads: classes as they are, or as rows of 0 and 1, or of -1 and 1."""
    if y.dtype != torch.int64 or KINDS[loss.name].indices:
        return y
    rows = torch.nn.functional.one_hot(y, features).double()
    return 2 * rows - 1 if loss.name in SIGNED else rows


def _whole(data: str, signal: Signal, seed: int) -> tuple[Tensor, Tensor]:
    if data == "digits":
        if signal.tokens:
            raise BadInput("digits are pictures and the network reads tokens; use --data text")
        images, targets = (torch.cat(part) for part in zip(*digits(56, seed), strict=True))
        return _pictures(images, signal), targets
    if data == "text":
        if not signal.tokens or not signal.space:
            raise BadInput("text needs a network that reads tokens at some positions; use --data digits")
        runs, targets = (torch.cat(part) for part in zip(*text(64, seed), strict=True))
        length = signal.space[0]
        if length > runs.shape[1]:
            raise BadInput(f"runs of text have {runs.shape[1]} characters, the network reads {length}; make it shorter")
        return runs[:, :length] % signal.features, targets[:, :length] % signal.features
    return _file(Path(data), signal)


def _pictures(images: Tensor, signal: Signal) -> Tensor:
    """Digits of 8 x 8 pixels as the network reads pictures: flat, or with channels and of another size."""
    if not signal.space:
        if signal.features != 64:
            raise BadInput(f"a digit has 64 pixels, the network reads {signal.features} features; give it 64")
        return images.flatten(1)
    if len(signal.space) != 2 or not signal.channels_first:
        raise BadInput(f"digits are pictures, the network reads shape {signal.space}; use a .npz file")
    large = torch.nn.functional.interpolate(images, size=tuple(signal.space), mode="nearest")
    return large.expand(-1, signal.features, -1, -1).contiguous()


def _file(path: Path, signal: Signal) -> tuple[Tensor, Tensor]:
    import numpy

    if path.suffix != ".npz":
        raise BadInput(f"--data {path} is neither digits nor text nor a .npz file")
    try:
        with numpy.load(path, allow_pickle=False) as arrays:
            x, y = (torch.from_numpy(numpy.array(arrays[name])) for name in ("x", "y"))
    except FileNotFoundError as error:
        raise BadInput(f"there is no file {path}") from error
    except (KeyError, ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} is no .npz file with arrays of numbers x and y: {error}") from error
    features = (signal.features,) if not signal.tokens else ()
    shape = (*features, *signal.space) if signal.channels_first else (*signal.space, *features)
    if tuple(x.shape[1:]) != shape or len(x) != len(y):
        raise BadInput(
            f"{path} has x of shape {tuple(x.shape)} and {len(y)} targets; the network reads (examples, "
            f"{', '.join(map(str, shape))})"
        )
    if not bool(torch.isfinite(x.double()).all()) or not bool(torch.isfinite(y.double()).all()):
        raise BadInput(f"{path} has numbers that are not finite")
    whole = not (y.is_floating_point() or y.is_complex())
    return (x.long() if signal.tokens else x.double()), y.long() if whole else y.double()
