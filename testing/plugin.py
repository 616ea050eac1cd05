"""The pytest plugin: fixtures `assert_lawful` and `assert_conserved`, a marker and a seed.

pytest loads it in every run of every project that has `lawful` installed, so it imports nothing until a fixture is
used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--lawful-seed`."""
    group = parser.getgroup("lawful", "conservation laws of neural networks")
    group.addoption(
        "--lawful-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the random points of lawful's assertions (default 0)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker `lawful`."""
    config.addinivalue_line("markers", "lawful: checks conservation laws; select such tests with `-m lawful`")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that uses one of the fixtures."""
    for item in items:
        if {"assert_lawful", "assert_conserved"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("lawful")


@pytest.fixture
def assert_lawful(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`lawful.testing.assert_lawful` with the seed of the command line."""
    from lawful.testing.assertions import assert_lawful as check

    return functools.partial(check, seed=request.config.getoption("--lawful-seed"))


@pytest.fixture
def assert_conserved(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`lawful.testing.assert_conserved` with the seed of the command line."""
    from lawful.testing.conserved import assert_conserved as check

    return functools.partial(check, seed=request.config.getoption("--lawful-seed"))
