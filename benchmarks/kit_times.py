"""How long `assert_lawful` takes after the imports: a small model, also compiled, a tiny Llama, a ResNet-18.

Seconds of this process (its share of a busy machine does not count) beside those on the clock.  `--small` leaves the
ResNet out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from lawful.testing import assert_lawful

Call = tuple[nn.Module, tuple[torch.Tensor, ...]]


def small() -> Call:
    """A perceptron with a norm."""
    return nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 10)), (torch.randn(32, 16),)


def compiled() -> Call:
    """The same, compiled."""
    model, args = small()
    return torch.compile(model, backend="aot_eager"), args


def llama() -> Call:
    """A Llama of two layers, from its published code."""
    from lawful.atlas.models import build

    built = build("hf:llama", full=False)
    return built.module, tuple(built.kwargs.values())


def resnet() -> Call:
    """A ResNet-18 of 11.7 million parameters, in training mode, on images of its own size."""
    from torchvision.models import resnet18

    return resnet18(), (torch.randn(2, 3, 224, 224),)


def main() -> None:
    """Prints a table."""
    torch.set_num_threads(1)
    assert_lawful(nn.Sequential(nn.Linear(2, 2)), torch.randn(3, 2))  # the imports
    makers: dict[str, Callable[[], Call]] = {"small": small, "compiled": compiled, "tiny Llama": llama}
    if "--small" not in sys.argv:
        makers["ResNet-18, 224 x 224"] = resnet
    print("| model | parameters | laws | seconds of the processor | on the clock |\n| --- | --- | --- | --- | --- |")
    for name, make in makers.items():
        torch.manual_seed(0)
        model, args = make()
        cpu, clock = time.process_time(), time.perf_counter()
        found = assert_lawful(model, args, "cross_entropy")
        took = f"{time.process_time() - cpu:.1f} | {time.perf_counter() - clock:.1f}"
        size = sum(p.numel() for p in model.parameters())
        print(f"| {name} | {size:,} | {sum(r.scalars for r in found.laws):,} | {took} |", flush=True)


if __name__ == "__main__":
    main()
