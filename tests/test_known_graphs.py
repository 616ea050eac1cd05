"""What is measured once for every graph, while equal graphs come and go."""

from weakref import WeakKeyDictionary

import pytest

import lawful as lw
from lawful import blocks as b
from lawful.graph.architecture import batches, sources


class Forgets(WeakKeyDictionary):
    """The key that is found is that of an equal graph, which the collector takes as soon as somebody has asked."""

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        self.clear()
        return found


@pytest.mark.parametrize(("place", "asked"), [(sources, sources.computed_alone), (batches, batches.built_in)])
def test_an_equal_graph_may_go_at_any_moment(place, asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lawful report` ended with a KeyError of a weak reference, once in some runs of the whole suite."""
    monkeypatch.setattr(place, "_KNOWN", Forgets())
    graphs = [lw.Architecture(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)) for _ in range(2)]
    assert graphs[0] == graphs[1]
    first, second = map(asked, graphs)
    assert first == second
