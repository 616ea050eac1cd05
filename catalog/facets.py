"""Facets: what an entry has to be, which blocks it joins, which optimizer a name means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import cache

from .bibliography import sources
from .entry import Entry
from .fates import OPTIMIZERS
from .record import KINDS
from .search.analysis import analyse, in_words
from .store import entries


def optimizer_key(name: str) -> str:
    """The key of an optimizer under any of its names.

    Raises:
        ValueError: for one that the catalog does not know.
    """
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    plain = {"l2": "weight-decay", "gd": "sgd", "gradient-descent": "sgd"}.get(plain, plain)
    if plain in OPTIMIZERS:
        return plain
    found = analyse(name).optimizers
    if len(found) == 1:
        return found[0]
    raise ValueError(f"no optimizer {name!r} in the catalog; there are {', '.join(OPTIMIZERS)}")


def kept_by(
    block: str | None,
    kind: str | None,
    optimizer: str | None,
    loss: str | None,
    exact: bool | None,
    between: tuple[str, str] | None,
    source: str | None,
) -> Callable[[Entry], bool]:
    """What an entry has to be.

    Raises:
        ValueError: for what no entry has.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"no kind of law {kind!r}; there are {', '.join(sorted(KINDS))}")
    blocks = block_names()
    if block is not None and block.lower() not in map(str.lower, blocks):
        near = difflib.get_close_matches(block, blocks, 5, 0.5) or blocks
        raise ValueError(f"no entry is about a block {block!r}; there are {', '.join(near)}")
    if source is not None and not any(source.lower() in e.source.lower() for e in entries()):
        raise ValueError(f"no entry has a source {source!r}; there are {', '.join(sorted(sources()))}")
    if loss is not None and loss not in _losses():
        raise ValueError(f"no entry is about the loss {loss!r}; there are {', '.join(_losses())}")
    key = optimizer_key(optimizer) if optimizer else ""
    pair = tuple(frozenset(analyse(name).terms) for name in between) if between else ()

    def keep(e: Entry) -> bool:
        return (
            (kind is None or e.kind == kind)
            and (block is None or block.lower() in (name.lower() for name in (e.block, *e.blocks)))
            and (source is None or source.lower() in e.source.lower())
            and (exact is None or (e.is_law and e.exact == exact))
            and (not key or key in e.fates or e.id == f"optimizer/{key}")
            and (loss is None or holds_for(e, loss))
            and (not pair or (e.is_law and all(p <= on_wires(e) for p in pair)))
        )

    return keep


def holds_for(entry: Entry, loss: str) -> bool:
    """Whether a law is known to hold for a loss: for any, or for the one that it was checked with."""
    return entry.is_law and (
        entry.loss == loss or any(h.startswith("any differentiable loss") for h in entry.hypotheses)
    )


@cache
def _losses() -> tuple[str, ...]:
    return tuple(sorted({e.loss for e in entries() if e.loss}))


def is_known(name: str) -> bool:
    """Whether some law has a block on its wires."""
    terms = frozenset(analyse(name).terms)
    return bool(terms) and any(terms <= on_wires(e) for e in entries() if e.is_law)


def joins(entry: Entry, a: str, b: str) -> bool:
    """Whether a law stands between two blocks."""
    return all((t := frozenset(analyse(name).terms)) and t <= on_wires(entry) for name in (a, b))


def on_wires(entry: Entry) -> frozenset[str]:
    """Terms of the blocks on the wires of a law; a gain stands for its norm, a map for the composite that it is in."""
    more = [entry.block] if "Affine" in entry.touches else []
    more += [k for k in entry.blocks if k.endswith("NormCore")] if "Affine" in entry.touches else []
    more += ["attention"] if any(".heads." in f".{p}" for p in entry.parameters) else []
    more += ["SwiGLU"] if any(".glu." in f".{p}" for p in entry.parameters) else []
    return _terms_of((*entry.touches, *more))


@cache
def _terms_of(kinds: tuple[str, ...]) -> frozenset[str]:
    return frozenset(t for kind in kinds for t in analyse(in_words(kind)).terms)


@cache
def block_names() -> list[str]:
    """All blocks of the shipped entries."""
    return sorted({name for e in entries() for name in (e.block, *e.blocks) if name})
