"""True float64: published models cast to float32 inside of their forward, which hides a law behind rounding.

Llama, T5 and Qwen compute norms, softmax and rotary angles in float32 whatever their weights are: a true law then shows
a residual of 2e-7 instead of 1e-16.  Fused kernels have wrong third derivatives, or none; their compositions have all
(see `composed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from .composed import COMPOSED

WIDE = {
    torch.float32: torch.float64,
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.complex64: torch.complex128,
    torch.complex32: torch.complex128,
    "torch.FloatTensor": "torch.DoubleTensor",
    "torch.HalfTensor": "torch.DoubleTensor",
    "torch.BFloat16Tensor": "torch.DoubleTensor",
}
CASTS = {
    torch.Tensor.float: torch.Tensor.double,
    torch.Tensor.half: torch.Tensor.double,
    torch.Tensor.bfloat16: torch.Tensor.double,
}
LIKE = frozenset({torch.Tensor.to, torch.Tensor.type_as})  # casts to the kind of another tensor
MADE = frozenset({torch.tensor, torch.as_tensor, torch.asarray})
# products of a row with the matrix of its group (experts), whose kernel knows no float64
GROUPED = frozenset({"_grouped_mm", "_grouped_mm.default"})
# `view` with a dtype reads the same bits anew, which is no cast
BITS = frozenset({torch.Tensor.view})


class _Wide(TorchFunctionMode):
    """Reads every narrow type of real numbers as float64.

    Args:
        default: the type of what is made from python numbers outside; they are rounded to it, as they are there.
    """

    def __init__(self, default: torch.dtype) -> None:
        super().__init__()
        self.rounded = default if default in WIDE else None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        func = CASTS.get(func, func)
        func = COMPOSED.get(func, func)
        if func in BITS or getattr(func, "__name__", "") in ("__get__", "__set__"):
            return func(*args, **options)
        args = tuple(_widened(a) for a in args)
        options = {k: _widened(v) for k, v in options.items()}
        if func in LIKE or _mixed((*args, *options.values())):
            # constants in plain attributes stay narrow; beside float64 no product takes them
            args = (*(a if _writes(func) else _double(a) for a in args[:1]), *map(_double, args[1:]))
            options = {k: _double(v) for k, v in options.items()}
        if func in MADE and self.rounded and not _kept(args, kwargs or {}):
            return func(*args, **options).to(self.rounded).double()
        if getattr(func, "__name__", "") in GROUPED and (args[0].ndim, args[1].ndim) == (2, 3):
            return _grouped(*args, **options)
        return func(*args, **options)


def _kept(args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
    """Whether a tensor made of some numbers keeps them as they are: integers, a type of its own, another tensor."""
    values = args[0] if args else options.get("data", options.get("obj"))
    return not _reals(values) or options.get("dtype") is not None


def _reals(values: Any) -> bool:
    """Whether some numbers in lists are python's own, and one of them is real."""
    if isinstance(values, (list, tuple)):
        return any(_reals(v) for v in values)
    return type(values) is float


def _widened(value: Any) -> Any:
    return WIDE.get(value, value) if isinstance(value, (torch.dtype, str)) else value


def _narrow(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64


def _grouped(
    rows: torch.Tensor, matrices: torch.Tensor, offs: torch.Tensor, bias: torch.Tensor | None = None, *_: Any, **__: Any
) -> torch.Tensor:
    """Every row times the matrix of its group; group `i` ends before row `offs[i]`, and what is left is zero."""
    place = torch.arange(rows.shape[0], device=rows.device)[:, None]
    own = (place < offs) & (place >= torch.cat([offs.new_zeros(1), offs[:-1]]))
    products = torch.matmul(rows, matrices) if bias is None else torch.matmul(rows, matrices) + bias[:, None]
    return (products * own.T[..., None]).sum(0)


def _mixed(args: tuple[Any, ...]) -> bool:
    """Whether tensors of float64 and of narrower numbers stand beside each other."""
    kinds = {a.dtype for a in args if isinstance(a, torch.Tensor) and a.is_floating_point()}
    return len(kinds) > 1 and torch.float64 in kinds


def _double(value: Any) -> Any:
    return value.double() if _narrow(value) else value


def _writes(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name == "__setitem__" or (name.endswith("_") and not name.startswith("__"))


@contextmanager
def double() -> Iterator[None]:
    """Inside, everything is float64: casts to narrower numbers, `dtype=`, and what is made from python numbers.

    Attention is computed in its mathematical form, whose derivatives exist to any order.  Parameters, buffers and
    inputs are the caller's to convert.  `torch.func` transforms work inside, and around.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with sdpa_kernel(SDPBackend.MATH), _Wide(before):
            yield
    finally:
        torch.set_default_dtype(before)
