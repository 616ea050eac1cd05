"""A cell of a notebook that defines a block runs again: the class takes the place of the one before."""

import pytest

import lawful as lw
from lawful import blocks as b

CELL = """
from dataclasses import dataclass
from lawful import blocks as b
from lawful.blocks.rules import HomogeneousRule

@b.register
@dataclass(frozen=True, eq=False, repr=False)
class CellOfANotebook(b.Block):
    def output(self, *signals):
        return (signals[0],)
    def rule(self, names, inputs, outputs):
        return HomogeneousRule(power=POWER)
    def forward(self, params, inputs, run):
        return inputs[0] ** 2
"""


def test_a_corrected_cell_runs_again() -> None:
    space = {"__name__": "notebook"}
    verdicts = []
    for power in ("1", "2", "2"):
        exec(CELL.replace("POWER", power), space)
        net = lw.Architecture(b.Linear(2, 3) >> space["CellOfANotebook"]() >> b.Linear(3, 2))
        verdicts.append(lw.check(net).verdict)
        assert lw.Architecture.from_json(net.to_json()) == net
    assert verdicts[0] == "violated" and verdicts[1] == verdicts[2] == "holds"


def test_a_class_of_another_place_takes_no_name() -> None:
    exec(CELL.replace("POWER", "2"), {"__name__": "notebook"})
    with pytest.raises(b.ShapeError, match="registered already by notebook"):
        exec(CELL.replace("POWER", "2"), {"__name__": "another"})
