"""Low-rank adapters: frozen parameters, with a trained update of rank r beside the linear maps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from lawful.blocks import Add, Block, Linear, Net, Scale, ShapeError
from lawful.theory.arguments import shown, there_are
from lawful.theory.typed import typed

from ..architecture.architecture import Architecture
from ..architecture.compile import Port
from .reading import network_of


@typed(ShapeError, skip=("arch",))
def lora(
    arch: Architecture | Net | str,
    rank: int,
    *,
    targets: Sequence[str] | str = (),
    alpha: float = 0.0,
    train: Sequence[str] | str = (),
) -> Architecture:
    """The architecture with low-rank adapters: `y = W x + (alpha / rank) B A x`, only `A` and `B` trained.

    Args:
        arch: any architecture, an expression of blocks, or a spec.
        rank: rows of `A` and columns of `B`.
        targets: parts of node names; every `Linear` whose name contains one of them is adapted, by default all.
        alpha: scale of the update (default: the rank, which gives the factor 1).
        train: beginnings of the names of parameters that stay trained, for example `("head",)`.

    Returns:
        A new architecture; an adapted node `q` becomes `q.base_layer`, `q.lora_A`, `q.lora_B` (as in peft), `q.scale`
        where the factor is not 1, and `q.add`.

    Raises:
        ShapeError: for a rank below 1 or above that of a map, and if no node is a `Linear` with one of the names.

    Source: Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models* (2021), section 4.1; law `A A^T - B^T B`:
    Marcotte et al. 2023, proposition 4.2.
    """
    network = network_of(arch, "lora")
    if not isinstance(network, Architecture):
        raise ShapeError(f"lora: the network is {shown(network)}; read it first, by lw.trace(module, args)")
    frozen, hit = targeted(network, targets, train)
    most = max(min(frozen.block(n).features, frozen.block(n).width) for n in hit)  # type: ignore[attr-defined]
    if rank > most:
        raise ShapeError(
            f"lora: the rank {rank} is more than {most}, the full rank of the largest map that is adapted: such an "
            f"update is not low-rank; take a rank of at most {most}"
        )
    return adapted(frozen, hit, rank, alpha)


def targeted(
    arch: Architecture, targets: Sequence[str] | str = (), train: Sequence[str] | str = ()
) -> tuple[Architecture, list[str]]:
    """The network with frozen parameters, and the nodes that `lora` adapts (see there)."""
    train = (train,) if isinstance(train, str) else train
    parts = (targets,) if isinstance(targets, str) else tuple(targets)
    frozen = arch.freeze(*(n for n in arch.parameters if not n.startswith(tuple(train) or ("\0",))))
    hit = [n for n in frozen.nodes if isinstance(frozen.block(n), Linear) and (not parts or any(p in n for p in parts))]
    if not hit:
        linear = [n for n in frozen.nodes if isinstance(frozen.block(n), Linear)]
        raise ShapeError(f"no Linear has {' or '.join(parts) or 'a name'} in its name; {there_are(linear)}")
    return frozen, hit


def adapted(frozen: Architecture, hit: Sequence[str], rank: int, alpha: float = 0.0) -> Architecture:
    """A network with adapters of any rank beside some of its linear maps.

    Args:
        frozen: the network, with everything frozen that is not to be trained.
        hit: the nodes that are adapted.
        rank: rows of `A` and columns of `B`.
        alpha: scale of the update; the rank where it is 0.
    """
    factor = (alpha or rank) / rank
    blocks: dict[str, Block] = {}
    edges = []
    moved: dict[Port, Port] = {}
    adapters: dict[int, dict[str, Block]] = {}  # a map that is used twice has one adapter
    for name in (n for n in frozen.graph.nodes if n not in ("input", "output")):
        block = frozen.block(name)
        if name not in hit:
            blocks[name] = block
            continue
        assert isinstance(block, Linear)
        if id(block) not in adapters:
            adapters[id(block)] = {
                "lora_A": Linear(block.features, rank, bias=False),
                "lora_B": Linear(rank, block.width, bias=False),
                **({"scale": Scale(alpha, divisor=rank)} if factor != 1 else {}),
            }
        chain = adapters[id(block)]
        blocks[f"{name}.base_layer"] = block
        blocks |= {f"{name}.{part}": b for part, b in chain.items()}
        blocks[f"{name}.add"] = Add()
        last = [f"{name}.{part}" for part in chain]
        edges += [(u, 0, v, 0) for u, v in itertools.pairwise(last)]
        edges += [(f"{name}.base_layer", 0, f"{name}.add", 0), (last[-1], 0, f"{name}.add", 1)]
        moved[name, 0] = (f"{name}.add", 0)
    for source, out, target, port in frozen.edges():
        u, o = moved.get((source, out), (source, out))
        readers = [f"{target}.base_layer", f"{target}.lora_A"] if target in hit else [target]
        edges += [(u, o, v, port) for v in readers]
    outputs = [moved.get(p, p) for p in frozen.sources("output")]
    return Architecture.from_parts(blocks, edges, outputs, frozen.inputs)
