"""How an ATen call answers when the tensors that it reads are scaled as a whole: what every product and map obeys.

Where no finer rule covers a call (positions and features mixed in an unusual way), its degrees still give a true rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Slots = Mapping[
    str, Sequence[str]
]  # for every argument the tensors in it: x0, x1, ... streams, p0, ... parameters, f fixed
Equation = tuple[tuple[str, int], ...]

MOVES = frozenset(
    "view reshape _unsafe_view _reshape_alias flatten unflatten squeeze unsqueeze permute transpose t numpy_T mT "
    "moveaxis expand broadcast_to repeat repeat_interleave select slice narrow chunk split split_with_sizes unbind "
    "tensor_split contiguous clone to _to_copy type_as im2col col2im unfold roll flip rot90 constant_pad_nd pad "
    "pixel_shuffle pixel_unshuffle channel_shuffle index index_select gather sum nansum mean cumsum diagonal "
    "diag_embed tril triu neg "
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
    "movedim alias dropout tile lift_fresh_copy swapaxes upsample_nearest1d upsample_nearest2d upsample_bilinear2d "
    "upsample_bicubic2d _upsample_bilinear2d_aa "
    "_upsample_bicubic2d_aa _upsample_nearest_exact2d upsample_linear1d grid_sampler_2d "
    "view_as_complex view_as_real real imag conj _conj conj_physical resolve_conj resolve_neg fft_rfft fft_irfft "
    "fft_fft fft_ifft fft_rfft2 fft_irfft2 fft_fft2 fft_ifft2 fft_rfftn fft_irfftn fft_fftn fft_ifftn fft_fftshift "
    "fft_ifftshift".split()
)
TOPS = frozenset(
    "relu leaky_relu abs amax amin max min max_pool1d max_pool2d max_pool3d max_pool2d_with_indices "
    "adaptive_max_pool2d linalg_vector_norm norm std".split()
)
PRODUCTS = frozenset("mul matmul bmm einsum mm mv dot".split())
SUMS = frozenset("add sub cat concat stack maximum minimum".split())
MAPS = frozenset("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution".split())
NORMS = frozenset("layer_norm group_norm batch_norm instance_norm rms_norm native_layer_norm".split())
NOTHING = frozenset(
    "softmax _softmax log_softmax sigmoid tanh gelu silu exp erf sin cos log softplus mish hardswish hardsigmoid elu "
    "hardtanh relu6 clamp clamp_min clamp_max clip rsub log_sigmoid".split()
)


def equations(
    name: str, slots: Slots, arguments: Sequence[Any], outputs: int
) -> tuple[tuple[Equation, ...], bool] | None:
    """What the factors of a call obey, and whether more may pass than that; None for a call that is not known.

    Args:
        name: the operation without namespace and overload.
        slots: the tensors in every argument by its place (`0`, `1`, ...) or name.
        arguments: its arguments.
        outputs: number of its outputs.
    """
    first = slots.get("0", ())
    every = [s for found in slots.values() for s in found]
    read = [s for s in every if s != "f"]
    ends = [f"y{i}" for i in range(outputs)]
    if name in MOVES or name in TOPS:
        fixed_pad = name in ("constant_pad_nd", "pad") and any(
            isinstance(a, (int, float)) and a != 0 for a in arguments[2:]
        )
        if len(read) != 1 or list(first) != read:
            return None
        if fixed_pad:
            return _rows([{s: 1} for s in (*ends, *read)]), True
        return _rows([{y: 1, read[0]: -1} for y in ends]), True
    if name in PRODUCTS:
        return _rows([_counted({y: 1}, read, -1) for y in ends]), True
    if name == "div" and slots.get("1"):
        return _rows([_counted(_counted({y: 1}, first, -1), slots["1"], 1) for y in ends]), True
    if name in SUMS:
        fixed = "f" in every or (name in ("add", "sub") and not slots.get("1"))
        return _rows([{y: 1, r: -1} for y in ends for r in read] + [{y: 1} for y in ends if fixed]), True
    if name == "addcmul":
        product = _counted(_counted({"y0": 1}, slots.get("1", ()), -1), slots.get("2", ()), -1)
        return _rows([product, *({"y0": 1, r: -1} for r in first if r != "f")]), True
    if name in MAPS:
        bias = slots.get("2", slots.get("bias", ()))
        product = _counted(_counted({"y0": 1}, first, -1), slots.get("1", ()), -1)
        return _rows([product, *({"y0": 1, r: -1} for r in bias if r != "f")]), True
    if name in ("addmm", "baddbmm", "addbmm"):
        product = _counted(_counted({"y0": 1}, slots.get("1", ()), -1), slots.get("2", ()), -1)
        return _rows([product, *({"y0": 1, r: -1} for r in first if r != "f")]), True
    if name == "scaled_dot_product_attention":
        q, k, v = (slots.get(str(i), ()) for i in range(3))
        others = [r for r in read if r not in (*q, *k, *v)]
        rows = [_counted(_counted({}, q, 1), k, 1), _counted({"y0": 1}, v, -1), *({r: 1} for r in others)]
        return _rows(rows), True
    if name in NORMS:
        gains = [r for r in read if r not in first]
        still = [{r: 1} for r in first if r != "f"]
        return _rows([*still, *({"y0": 1, g: -1} for g in gains), *([] if gains else [{"y0": 1}])]), True
    powers = {"sqrt": (2, -1), "rsqrt": (2, 1), "reciprocal": (1, 1), "square": (1, -2), "var": (1, -2)}
    if name in powers and len(read) == 1:
        a, b = powers[name]
        return _rows([{"y0": a, read[0]: b}]), True
    if name in NOTHING:
        trained = any(r.startswith("p") for r in read)  # a parameter may be a logarithm of a factor
        return _rows([{s: 1} for s in (*ends, *read)]), trained or name in ("softmax", "_softmax", "log_softmax")
    return None


def _counted(row: dict[str, int], names: Sequence[str], sign: int) -> dict[str, int]:
    """A row with some factors added; a tensor that is read twice counts twice."""
    out = dict(row)
    for n in names:
        if n != "f":
            out[n] = out.get(n, 0) + sign
    return out


def _rows(rows: Sequence[Mapping[str, int]]) -> tuple[Equation, ...]:
    return tuple(tuple((n, a) for n, a in row.items() if a) for row in rows if any(row.values()))
