"""Weights of which every process has a part (DTensor: FSDP2, tensor parallel): laws are read in place.

A sum over entries is the sum of what the processes add up, so every process reads its own part in the shape of the
whole, zero elsewhere, and the small results are added.  Products of different rows need rows that lie in one process;
where they do not, the weight is cut along another axis first, so that still no process holds all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor

Placements = tuple[Placement, ...]


def local(x: Tensor, like: Tensor | None = None) -> Tensor:
    """What this process holds of a tensor, cut as another one is."""
    if not isinstance(x, DTensor):
        return x.detach()
    with torch.no_grad():
        if isinstance(like, DTensor) and x.placements != like.placements:
            x = x.redistribute(placements=like.placements)
        return x.to_local().detach()


def version(x: Tensor) -> tuple[int, int]:
    """Numbers that change when somebody writes into a tensor: into a DTensor, or into what this process has of it."""
    if not isinstance(x, DTensor):
        return x._version, 0
    with torch.no_grad():
        return x._version, x.to_local()._version


def is_sharded(parameters: Mapping[str, Tensor]) -> bool:
    """Whether some parameters are DTensors."""
    return any(isinstance(p, DTensor) for p in parameters.values())


class Layout:
    """Where the entries of one parameter lie.

    Args:
        parameter: the parameter; one that is no DTensor is the same in all processes.
    """

    def __init__(self, parameter: Tensor) -> None:
        self.shape = tuple(parameter.shape)
        self._stride = parameter.stride()
        self._dtensor = isinstance(parameter, DTensor)
        self.mesh = parameter.device_mesh if isinstance(parameter, DTensor) else None
        self.placements: Placements = tuple(parameter.placements) if isinstance(parameter, DTensor) else ()
        self._places: dict[Placements, tuple[bool, list[Tensor]]] = {}
        self.device = local(parameter).device

    @cached_property
    def replicated(self) -> bool:
        """Whether every process has all of it."""
        return all(p.is_replicate() for p in self.placements)

    def others(self) -> list[Placements]:
        """Ways to cut it along one axis, the present way first."""
        if self.replicated or self.mesh is None:
            return [self.placements]
        ahead = (Replicate(),) * (self.mesh.ndim - 1)
        return [self.placements, *((*ahead, Shard(d)) for d in range(len(self.shape)))]

    def padded(self, part: Tensor, placements: Placements) -> Tensor:
        """A process's part in the shape of the whole, zero where others have theirs.

        Args:
            part: what this process has, in the parameter's own placements.
            placements: how it is to be cut.
        """
        if placements != self.placements:
            part = self._whole(part).redistribute(placements=placements).to_local()
        mine, places = self.where(placements)
        out = torch.zeros(self.shape, dtype=part.dtype, device=part.device)
        if mine and part.numel():
            out[torch.meshgrid(*places, indexing="ij") if places else ()] = part
        return out

    def gathered(self, part: Tensor) -> Tensor:
        """The whole parameter, for laws that cannot be read in parts."""
        return self._whole(part).full_tensor() if self._dtensor else part

    def owners(self, placements: Placements) -> Tensor:
        """A number for every entry that says which process counts it."""
        mine, places = self.where(placements)
        out = torch.zeros(self.shape, dtype=torch.int32, device=self.device)
        if mine and all(len(p) for p in places):
            out[torch.meshgrid(*places, indexing="ij") if places else ()] = torch.distributed.get_rank() + 1
        torch.distributed.all_reduce(out)
        return out

    def _whole(self, part: Tensor) -> DTensor:
        made: DTensor = DTensor.from_local(
            part, self.mesh, self.placements, run_check=False, shape=torch.Size(self.shape), stride=self._stride
        )
        return made

    def where(self, placements: Placements) -> tuple[bool, list[Tensor]]:
        """Whether this process counts its part, and the places of the part along every axis."""
        if placements not in self._places:
            self._places[placements] = self._find(placements)
        return self._places[placements]

    def _find(self, placements: Placements) -> tuple[bool, list[Tensor]]:
        every = [torch.arange(n, device=self.device) for n in self.shape]
        if self.mesh is None:
            return torch.distributed.get_rank() == 0, every
        coordinate = self.mesh.get_coordinate() or [1] * self.mesh.ndim
        mine = all(c == 0 for c, p in zip(coordinate, placements, strict=True) if isinstance(p, Replicate))
        places = []
        for d, index in enumerate(every):
            cut: list[Placement] = [p if getattr(p, "dim", None) == d else Replicate() for p in placements]
            line = index.reshape([-1 if i == d else 1 for i in range(len(self.shape))])
            if not all(isinstance(p, Replicate) for p in cut):
                line = distribute_tensor(line, self.mesh, cut, src_data_rank=None).to_local()
            places.append(line.reshape(-1))
        return mine, places


class Shards:
    """All watched parameters, and the sums over processes.

    Args:
        parameters: by name.

    Raises:
        ValueError: for meshes that leave processes out, and for sums that are not added up yet.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.layouts = {n: Layout(p) for n, p in parameters.items()}
        world = torch.distributed.get_world_size()
        for n, one in self.layouts.items():
            if one.mesh is not None and one.mesh.size() != world:
                raise ValueError(
                    f"{n} lies on {one.mesh.size()} of {world} processes; the ledger reads sharded weights that all "
                    "processes share"
                )
            if any(type(p).__name__ == "Partial" for p in one.placements):
                raise ValueError(f"{n} is a sum that was not added up yet (Partial); redistribute it first")

    def total(self, x: Tensor) -> Tensor:
        """Adds up what the processes have."""
        torch.distributed.all_reduce(x)
        return x

    def most(self, numbers: Sequence[float]) -> list[float]:
        """The largest that a process has, number by number; NaN where one has it."""
        x = self._numbers(numbers)
        torch.distributed.all_reduce(strange := x.isnan().double(), torch.distributed.ReduceOp.MAX)
        torch.distributed.all_reduce(x := x.nan_to_num(0.0, float("inf")), torch.distributed.ReduceOp.MAX)
        out: list[float] = torch.where(strange > 0, float("nan"), x).tolist()
        return out

    def sums(self, names: Sequence[str], numbers: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
        """Adds up some numbers of each of some parameters; of replicas one counts."""
        if not names:
            return []
        mine = [
            x for n, row in zip(names, numbers, strict=True) for x in (row if self.counted(n) else [0.0] * len(row))
        ]
        whole = self.total(self._numbers(mine)).reshape(len(names), -1)
        return [tuple(row) for row in whole.tolist()]

    def _numbers(self, numbers: Sequence[float]) -> Tensor:
        device = next(iter(self.layouts.values())).device
        return torch.tensor(numbers, dtype=torch.float64, device=device)

    def counted(self, name: str) -> bool:
        """Whether this process counts its part of a parameter, of which there may be replicas."""
        one = self.layouts[name]
        return one.where(one.placements)[0]

    def fitting(self, name: str, blocks: Callable[[Tensor], Tensor]) -> Placements | None:
        """A way to cut a parameter so that rows which are multiplied lie in one process, None if there is none.

        Args:
            name: of the parameter.
            blocks: reads a tensor of its shape as `(block, row, column)`.
        """
        one = self.layouts[name]
        for placements in one.others():
            found = blocks(one.owners(placements))
            if math.prod(found.shape) == 0 or bool((found == found[:, :1]).all()):
                return placements
        return None
