"""Tables of numbers that belong to a block and that no training moves: masks, angles, indices."""

from __future__ import annotations

import hashlib

import torch

from lawful.theory.arguments import shown

from .signals import ShapeError


class Numbers:
    """A fixed tensor as the field of a block: compared by its numbers, printed by its shape.

    On the meta device there are no numbers; two tensors of one shape then count as equal.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        if not isinstance(tensor, torch.Tensor):
            raise ShapeError(f"Numbers holds a tensor, got {shown(tensor)}; make it one by torch.as_tensor")
        self.tensor = tensor.detach()
        digest = hashlib.sha256(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
        if tensor.device.type != "meta" and tensor.numel():
            plain = self.tensor.to("cpu").contiguous()
            plain = plain.to(torch.float64) if plain.is_floating_point() else plain.to(torch.int64)
            digest.update(plain.numpy().tobytes())
        self._key = digest.hexdigest()

    def on(self, like: torch.Tensor) -> torch.Tensor:
        """The numbers on the device of a tensor, real ones in its precision."""
        floating = self.tensor.is_floating_point() and like.is_floating_point()
        return self.tensor.to(like.device, like.dtype) if floating else self.tensor.to(like.device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbers) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<numbers of shape {tuple(self.tensor.shape)}>"
