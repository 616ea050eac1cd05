"""What the builders give: a module with what its forward reads, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BATCH = 2
DULL = 0.1  # constant parameters below this hide laws: a gain of 1e-6 or 0 switches off the branch behind it
SPREAD = 0.3  # what they become, in standard deviations


class NotBuilt(ValueError):
    """A model that cannot be made here; one sentence that says why."""


class NotInstalled(NotBuilt):
    """A model of a package that is not there."""


@dataclass(frozen=True)
class Built:
    """A module and one call of it.

    Attributes:
        module: in evaluation mode, if not asked otherwise.
        args: the tensors it reads by position.
        kwargs: those it reads by name.
        loss: the loss that its output is trained with.
        axis: the axis of the classes (the features) in its output.
        published: whether its sizes are the published ones.
        family: what its siblings share: the entry module in torchvision and timm, the model type in transformers.
        how: the options that made it.
    """

    module: torch.nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "cross_entropy"
    axis: int = -1
    published: bool = True
    family: str = ""
    how: str = ""

    @property
    def scalars(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.module.parameters())


class _Forgetful(dict[Any, Any]):
    """A cache that never has what it is asked for."""

    def __contains__(self, key: object) -> bool:
        return False


def without_caches(module: torch.nn.Module) -> torch.nn.Module:
    """A module that reads its parameters at every call.

    The attention of LeViT and its kin in timm keeps the biases of its first call for as long as it is evaluated: a
    parameter that is replaced afterwards is not read, and one that was read without gradients gets none.
    """
    for part in module.modules():
        if isinstance(getattr(part, "attention_bias_cache", None), dict):
            part.attention_bias_cache = _Forgetful()  # type: ignore[assignment]
    return module


def awaken(module: torch.nn.Module, *args: torch.Tensor, **kwargs: torch.Tensor) -> torch.nn.Module:
    """Brings a module with random weights to a point where every part of it takes part in what it does.

    Parameters that begin as one small constant become random and positive: gains of 1e-6 or 0 (LayerScale, the last
    norm of a residual branch) make the gradients behind them so small that neither a law nor its failure can be seen.
    Running statistics become those of the example: with others many units before a ReLU are never active, and their
    laws would go untested.  Laws depend on neither.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            if (
                p.numel()
                and p.is_floating_point()
                and bool((p == p.flatten()[0]).all())
                and float(p.abs().max()) < DULL
            ):
                p.copy_(SPREAD * torch.randn(p.shape, generator=generator).abs())
        kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
        norms = [m for m in module.modules() if isinstance(m, kinds)]
        momenta = [m.momentum for m in norms]
        if norms:
            module.eval()
            for m in norms:
                m.train().momentum = 1.0
            try:
                module(*args, **kwargs)
            finally:
                for m, momentum in zip(norms, momenta, strict=True):
                    m.eval().momentum = momentum
    return module


def said(error: BaseException, length: int = 200) -> str:
    """An error as one short line: its kind and the beginning of its text."""
    text = " ".join(str(error).split())
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= length else text[: length - 3] + "..."


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Some names for an error text."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "") if names else "none"
