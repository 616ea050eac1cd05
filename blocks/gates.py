"""Gates: gated linear units, squeeze and excitation, highways, and other small composites of products and sums."""

from __future__ import annotations

from .base import Net, Parallel, ShapeError, Wiring, chain
from .joins import Add, Blend, Product, Split
from .linear import Affine, Linear
from .pointwise import GELU, Identity, Pointwise, ReLU, Scale, Sigmoid, SiLU
from .spectators import GlobalAveragePool


def GatedLinearUnit(
    features: int,
    hidden: int,
    activation: Net | None = None,
    bias: bool = False,
    width: int | None = None,
    packed: bool = False,
    value_first: bool = True,
) -> Net:
    """`down(activation(gate(x)) * up(x))`: GLU family; SwiGLU by default.

    Law: `||up_j||^2 - ||down_j||^2` per hidden unit, and one more for the gate if the activation is homogeneous
    (Tran et al. 2026, theorem 4.2).

    Args:
        features: width of the input.
        hidden: number of gated units.
        activation: of the gate.
        bias: whether the maps have biases.
        width: of the output, by default that of the input.
        packed: whether one map gives gate and value side by side.
        value_first: order of the two in a packed map (`torch.nn.functional.glu`: value, then gate).
    """
    down = Linear(hidden, width or features, bias)
    if packed:
        return chain(glu=PackedGate(features, hidden, activation, bias, value_first), down=down)
    gate = chain(proj=Linear(features, hidden, bias), activation=activation or SiLU())
    both = Parallel((("gate", gate), ("up", Linear(features, hidden, bias))), Product())
    return chain(glu=both, down=down)


def PackedGate(
    features: int, hidden: int, activation: Net | None = None, bias: bool = True, value_first: bool = True
) -> Net:
    """`value * activation(gate)` with `[value, gate] = W x + b` from one map of twice the width."""
    value, gate = ("split:0", "split:1") if value_first else ("split:1", "split:0")
    return Wiring(
        nodes={
            "proj": Linear(features, 2 * hidden, bias),
            "split": Split((hidden, hidden)),
            "activation": activation or SiLU(),
            "product": Product(),
        },
        reads={
            "proj": ("input",),
            "split": ("proj",),
            "activation": (gate,),
            "product": (value, "activation"),
        },
        output=("product",),
    )


def GLU(features: int, hidden: int, bias: bool = False, packed: bool = False) -> Net:
    """Gated linear unit with a sigmoid (Dauphin et al. 2017)."""
    return GatedLinearUnit(features, hidden, Sigmoid(), bias, packed=packed)


def ReGLU(features: int, hidden: int, bias: bool = False, packed: bool = False) -> Net:
    """Gated linear unit with ReLU."""
    return GatedLinearUnit(features, hidden, ReLU(), bias, packed=packed)


def GEGLU(features: int, hidden: int, bias: bool = False, packed: bool = False) -> Net:
    """Gated linear unit with GELU."""
    return GatedLinearUnit(features, hidden, GELU(), bias, packed=packed)


def SwiGLU(features: int, hidden: int, bias: bool = False, packed: bool = False) -> Net:
    """Gated linear unit with SiLU."""
    return GatedLinearUnit(features, hidden, SiLU(), bias, packed=packed)


def BilinearGLU(features: int, hidden: int, bias: bool = False, packed: bool = False) -> Net:
    """Gated linear unit without activation: the product of two linear maps."""
    return GatedLinearUnit(features, hidden, Identity(), bias, packed=packed)


def SqueezeExcite(channels: int, hidden: int, activation: Net | None = None, gate: Net | None = None) -> Net:
    """`x * gate(fc2(activation(fc1(mean of x))))`: a weight for every channel (Hu et al. 2018).

    Args:
        channels: of the image.
        hidden: width of the bottleneck.
        activation: ReLU by default.
        gate: sigmoid by default.
    """
    weights = chain(
        pool=GlobalAveragePool(),
        fc1=Linear(channels, hidden),
        activation=activation or ReLU(),
        fc2=Linear(hidden, channels),
        gate=gate or Sigmoid(),
    )
    return Parallel((("image", Identity()), ("weights", weights)), Product())


def LayerScale(features: int) -> Affine:
    """A gain per feature at the end of a residual branch (Touvron et al. 2021); its parameter is `weight`."""
    return Affine(features, shift=False)


def Highway(features: int, activation: Net | None = None) -> Net:
    """`T(x) * H(x) + (1 - T(x)) * x` with `T = sigmoid(W_T x + b_T)` (Srivastava et al. 2015)."""
    gate = chain(proj=Linear(features, features), sigmoid=Pointwise("sigmoid"))
    value = chain(proj=Linear(features, features), activation=activation or ReLU())
    return Parallel((("gate", gate), ("value", value), ("skip", Identity())), Blend())


def mean_of(*branches: Net) -> Net:
    """The mean of branches that read the same input."""
    if len(branches) < 2:
        raise ShapeError(f"a mean needs two or more branches, got {len(branches)}")
    total = Parallel(tuple((str(i), n) for i, n in enumerate(branches)), Add())
    return chain(total=total, mean=Scale(1.0, len(branches)))
