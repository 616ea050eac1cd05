"""Values of programs in floats, to compare them with what a network computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .program import Program


def evaluate(program: Program, parameters: Mapping[str, np.ndarray], draws: Mapping[str, np.ndarray]) -> float:
    """The scalar that a program gives, in float64.

    Args:
        program: any program.
        parameters: by name.
        draws: one sample of the data, of frozen numbers and of the choices (integers), by name.
    """
    values: list[np.ndarray] = []
    for step in program.steps:
        read = [values[i] for i in step.inputs]
        if step.kind == "parameter":
            value = parameters[step.name]
        elif step.kind in ("data", "frozen"):
            value = draws[step.name]
        elif step.kind == "constant":
            assert step.table is not None
            value = step.table
        elif step.kind == "pick":
            assert step.table is not None
            table = step.table.reshape(len(step.table), -1)
            value = table[draws[step.name].ravel()[step.places], np.arange(step.size)].reshape(step.shape)
        elif step.kind == "take":
            value = np.append(read[0].ravel(), 0.0)[step.places].reshape(step.shape)
        elif step.kind == "add":
            terms = [float(c) * x for c, x in zip(step.factors, read, strict=True)]
            value = np.sum(terms, axis=0)
        elif step.kind == "multiply":
            value = read[0] * read[1]
        elif step.kind == "matmul":
            value = read[0] @ read[1]
        else:  # total
            value = read[0].sum(-1)
        values.append(value)
    return float(values[-1])
