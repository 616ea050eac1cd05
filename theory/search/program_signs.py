"""What the terms of a program are made of, entry by entry: signs, and the choices that they read.

Both are found in one pass over the steps with one Python integer for every entry of every value, a set of bits.  A
scalar is held as an array of shape `(1,)`, since numpy takes single entries of such arrays for plain integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..oracle.exact.program import Program, Step
from .grading import flips_of

Signs = tuple[np.ndarray, np.ndarray]  # a mask for every entry, and whether the entry is anything but zero


def sign_flips(program: Program) -> list[int]:
    """Sign flips of parameters and data under which a program is invariant or changes its sign.

    A term changes its sign with the sum of the bits of its factors, and all terms of one sum must do so together:
    linear equations over the field of two elements.  Choices stay as they are.

    Returns:
        For every scalar parameter a bit mask: which of the generating flips move it.
    """
    bits = {}
    at = 0
    for name, shape in (*program.parameters.items(), *program.data.items()):
        n = int(np.prod(shape, dtype=np.int64))
        bits[name] = _objects([1 << i for i in range(at, at + n)], shape)
        at += n
    values: list[Signs] = []
    equations: set[int] = set()
    for step in program.steps:
        if step.kind in ("parameter", "data"):
            values.append((bits[step.name], np.ones(_shape(step), dtype=bool)))
        elif step.kind in ("constant", "pick"):
            filled = np.asarray(step.table) != 0
            filled = filled if step.kind == "constant" else filled.any(axis=0)
            values.append((_zeros(step), filled.reshape(_shape(step))))
        elif step.kind == "take":
            values.append(_taken(step, values[step.inputs[0]]))
        elif step.kind == "multiply":
            (a, x), (b, y) = (values[i] for i in step.inputs)
            values.append((a ^ b, x & y))
        else:
            values.append(_summed(step, _terms(step, values), equations))
    return flips_of(equations, program.size, at)


def choices_used_twice(program: Program) -> set[str]:
    """The names of choices of which some product may read one twice: the program may not be affine in those."""
    start, at = {}, 0
    for name, (shape, _) in program.choices.items():
        start[name] = at
        at += int(np.prod(shape, dtype=np.int64))
    values: list[np.ndarray] = []
    twice = 0
    for step in program.steps if at else ():
        read = [values[i] for i in step.inputs]
        if step.kind == "pick":
            values.append(_objects([1 << (start[step.name] + int(i)) for i in step.places], _shape(step)))
        elif step.kind == "take":
            values.append(_taken(step, (read[0], read[0] != 0))[0])
        elif step.kind == "add":
            values.append(_union(read, step))
        elif step.kind == "multiply":
            twice |= _any(read[0] & read[1])
            values.append(read[0] | read[1])
        elif step.kind == "matmul":
            pairs = [(read[0][:, :, k, None], read[1][:, k, None, :]) for k in range(read[0].shape[-1])]
            for a, b in pairs:
                twice |= _any(a & b)
            values.append(_union([a | b for a, b in pairs], step))
        elif step.kind == "total":
            values.append(_union([read[0][..., k, None].reshape(_shape(step)) for k in range(read[0].shape[-1])], step))
        else:
            values.append(_zeros(step))
    ends = {n: start[n] + int(np.prod(s, dtype=np.int64)) for n, (s, _) in program.choices.items()}
    return {n for n in program.choices if twice >> start[n] & ((1 << (ends[n] - start[n])) - 1)}


def _terms(step: Step, values: list[Signs]) -> Iterator[Signs]:
    """What a step adds up."""
    if step.kind == "add":
        yield from (values[i] for i, c in zip(step.inputs, step.factors, strict=True) if c)
        return
    (a, x), *other = (values[i] for i in step.inputs)
    for k in range(a.shape[-1]):
        if step.kind == "total":
            yield a[..., k, None].reshape(_shape(step)), x[..., k, None].reshape(_shape(step))
        else:
            b, y = other[0]
            yield a[:, :, k, None] ^ b[:, k, None, :], x[:, :, k, None] & y[:, k, None, :]


def _summed(step: Step, terms: Iterable[Signs], equations: set[int]) -> Signs:
    """The sign of a sum is that of its first term; the others must agree."""
    total, filled = _zeros(step), np.zeros(_shape(step), dtype=bool)
    for mask, there in terms:
        both = filled & there
        equations.update((total ^ mask)[both].tolist())
        total = np.where(there & ~filled, mask, total)
        filled = filled | there
    return total, filled


def _taken(step: Step, read: Signs) -> Signs:
    there = (step.places >= 0).reshape(_shape(step))
    mask, filled = (a.reshape(-1)[step.places].reshape(_shape(step)) for a in read)
    return np.where(there, mask, 0), filled & there


def _union(parts: list[np.ndarray], step: Step) -> np.ndarray:
    found = _zeros(step)
    for part in parts:
        found = found | part
    return found


def _any(masks: np.ndarray) -> int:
    return int(np.bitwise_or.reduce(masks.ravel())) if masks.size else 0


def _objects(numbers: list[int], shape: tuple[int, ...]) -> np.ndarray:
    found = np.empty(len(numbers), dtype=object)
    found[:] = numbers
    return found.reshape(shape or (1,))


def _zeros(step: Step) -> np.ndarray:
    return np.full(_shape(step), 0, dtype=object)


def _shape(step: Step) -> tuple[int, ...]:
    return step.shape or (1,)
