"""Experts behind a router."""

from __future__ import annotations

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture


def experts(router: b.Router, many: int = 3, hidden: int = 4) -> Architecture:
    """ReLU experts behind a router."""
    one = [b.chain(up=b.Linear(6, hidden, False), act=b.ReLU(), down=b.Linear(hidden, 6, False)) for _ in range(many)]
    return Architecture(b.MixtureOfExperts(6, one, router=router, bias=False), input=b.Signal(6))
