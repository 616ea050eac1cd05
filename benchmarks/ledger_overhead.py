"""What the ledger costs: the time of a watched step over that of the same step unwatched, in one run.

Watched and unwatched steps are mixed, so that a busy machine slows both.  `--small` runs networks that take seconds.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw


class Layer(nn.Module):
    """A pre-norm layer of a Transformer, with ReLU so that its MLP has laws."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One layer, shape `(batch, tokens, width)`."""
        z = self.norm1(x)
        b, t, d = z.shape
        q, k, v = (f(z).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d)
        x = x + self.o(a)
        return x + self.down(F.relu(self.up(self.norm2(x))))


class Block(nn.Module):
    """A basic block of a ResNet."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or before != width:
            self.skip = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One block, shape `(batch, channels, height, width)`."""
        return F.relu(self.skip(x) + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


def resnet(width: int) -> nn.Module:
    """ResNet-18 with the stem for images of 32 times 32, as people write it."""
    stem = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    sizes = [width, width, width, 2 * width, 2 * width, 4 * width, 4 * width, 8 * width, 8 * width]
    body = [Block(a, b, 1 if a == b else 2) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, 10))


def transformer(width: int, layers: int, heads: int) -> nn.Module:
    """Embedding, layers, norm, head."""
    body = [Layer(width, heads) for _ in range(layers)]
    return nn.Sequential(nn.Embedding(1000, width), *body, nn.LayerNorm(width), nn.Linear(width, 1000))


def measure(name: str, model: nn.Module, x: torch.Tensor, y: torch.Tensor, optimizer: str, steps: int) -> None:
    """Prints the ratio of watched and unwatched steps: of the default, and of watching every step."""
    make = {"SGD": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9), "AdamW": lambda p: torch.optim.AdamW(p, 1e-4)}
    made = make[optimizer](model.parameters())
    laws = lw.derive(model, "cross_entropy", args=(x[:, :8] if x.ndim == 2 else x[:4],))

    def run(count: int) -> list[float]:
        times = []
        for _ in range(count):
            start = time.process_time()
            made.zero_grad()
            z = model(x)
            F.cross_entropy(z.flatten(0, -2) if z.ndim > 2 else z, y.flatten()).backward()
            made.step()
            times.append(time.process_time() - start)
        return times

    run(1)
    off = run(4)
    with lw.Ledger(model, made, laws, every=1):
        run(1)  # makes copies for clipping and SAM, which it then does without
        each = statistics.mean(run(2))
    off += run(4)
    with lw.Ledger(model, made, laws) as ledger:
        run(4)  # learns what watching costs
        default = statistics.mean(run(max(steps, ledger.every)))
    off += run(4)
    one = statistics.mean(off)
    print(
        f"{name}, {optimizer}: {len(laws)} laws, step {one:.3f} s; watched {each / one:.3f} times that at every step, "
        f"{default / one:.3f} times by default (every {ledger.every})",
        flush=True,
    )


def main() -> None:
    """Both networks of the issue, or small ones."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    small = "--small" in sys.argv
    images, classes = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
    width, layers, length = (128, 6, 64) if small else (768, 12, 512)
    tokens, following = torch.randint(0, 1000, (1, length)), torch.randint(0, 1000, (1, length))
    for optimizer in ("SGD", "AdamW"):
        measure("BatchNorm ResNet-18, batch 32", resnet(16 if small else 64), images, classes, optimizer, 10)
        model = transformer(width, layers, width // 64)
        name = f"Transformer, {layers} layers of width {width}, {length} tokens"
        measure(name, model, tokens, following, optimizer, 10)


if __name__ == "__main__":
    main()
