"""Parameters that share memory: one under two names, or two that overlap, which training cannot move apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch

Span = tuple[tuple[object, ...], int, int]


class SharedMemoryError(ValueError):
    """Tensors of a module share memory in a way that is no gradient flow of separate parameters."""


def own_parameters(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters of a module by the first name of each; one memory is one parameter.

    Raises:
        SharedMemoryError: as `shared_names`.
    """
    other = shared_names(module)
    return {n: p for n, p in module.named_parameters() if n not in other}


def shared_names(module: torch.nn.Module) -> dict[str, str]:
    """Names of parameters that are, to the last stride, the memory of another one, with the name of that.

    Two `Parameter` objects on one memory (`b.weight.data = a.weight.data`) train as one tied parameter.

    Raises:
        SharedMemoryError: where a parameter and another parameter or a buffer overlap in any other way
            (`nn.Parameter(w.t())`, a part of another, a buffer that shows a weight), or if one is frozen.
    """
    parameters = dict(module.named_parameters())
    tensors = {n: t for n, t in chain(parameters.items(), module.named_buffers()) if t.numel() and _plain(t)}
    spans = sorted(((*_span(t), n) for n, t in tensors.items()), key=lambda s: (str(s[0]), s[1], -s[2]))
    order = {n: i for i, n in enumerate(tensors)}
    found: dict[str, str] = {}
    open_: list[tuple[tuple[object, ...], int, int, str]] = []
    for span in spans:
        place, start, _, name = span
        open_ = [s for s in open_ if s[0] == place and s[2] > start]
        for *_, other in open_:
            first, second = sorted((name, other), key=order.__getitem__)
            if first in parameters and _overlap(tensors[first], tensors[second]):
                if not _one(tensors[first], tensors[second]) or second not in parameters:
                    raise SharedMemoryError(_refusal(first, second, second in parameters))
                found[second] = found.get(first, first)
        open_.append(span)
    return found


def shares_memory(tensor: torch.Tensor, module: torch.nn.Module) -> Iterator[str]:
    """Names of the parameters of a module that a tensor shows a part of."""
    if tensor.numel() and _plain(tensor):
        place, start, end = _span(tensor)
        for name, p in module.named_parameters():
            if p.numel() and _plain(p):
                there, first, last = _span(p)
                if there == place and first < end and start < last and _overlap(tensor, p):
                    yield name


def same_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are, to the last stride, the same numbers in memory."""
    if not (_plain(one) and _plain(other) and one.numel()):
        return False
    return _span(one) == _span(other) and _layout(one) == _layout(other)


def _plain(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not torch.nn.parameter.is_lazy(tensor)


def _span(tensor: torch.Tensor) -> Span:
    """Where the numbers of a tensor begin and end, within one kind of memory."""
    size = tensor.element_size()
    last = sum((int(n) - 1) * int(s) for n, s in zip(tensor.shape, tensor.stride(), strict=True)) + 1
    storage = tensor.untyped_storage()
    if tensor.device.type == "meta" or type(tensor).__name__ == "FakeTensor":  # no addresses, storages all the same
        start = int(tensor.storage_offset()) * size
        return ("meta", storage._cdata), start, start + last * size
    return (str(tensor.device),), tensor.data_ptr(), tensor.data_ptr() + last * size


def _one(one: torch.Tensor, other: torch.Tensor) -> bool:
    return _layout(one) == _layout(other) and one.requires_grad == other.requires_grad


def _layout(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors whose spans meet share a number: columns of one matrix do not."""
    size = one.element_size()
    if other.element_size() != size:
        return True
    (_, first, last), (_, start, _) = _span(one), _span(other)
    low = min(first, start)
    if (first - low) % size or (start - low) % size:
        return True
    marks = torch.zeros((max(last, _span(other)[2]) - low) // size, dtype=torch.bool, device="cpu")
    marks.as_strided(one.shape, one.stride(), (first - low) // size).fill_(True)
    return bool(marks.as_strided(other.shape, other.stride(), (start - low) // size).any())


def _refusal(first: str, second: str, parameter: bool) -> str:
    kind = "parameter" if parameter else "buffer"
    return (
        f"the parameter {first} and the {kind} {second} share memory in different ways (a view, a transpose, a part, "
        "or one of them frozen): a step of one moves the other without a gradient; keep one parameter and take the "
        "view of it in the forward"
    )
