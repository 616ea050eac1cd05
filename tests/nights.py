"""Which cases of a table wait for the night: those that take long, of a kind that others show every day."""

from collections.abc import Collection

import pytest


def at_night(names: Collection[str], *long: str) -> list:
    """What `pytest.mark.parametrize` takes: all names, those that are long for `make nightly` only.

    Args:
        names: of the table.
        long: those of them that are left out of the everyday run.
    """
    missing = [name for name in long if name not in names]
    assert not missing and len(long) < len(names), f"{missing}: not in the table, or nothing of it is left"
    return [pytest.param(name, marks=pytest.mark.nightly) if name in long else name for name in names]
