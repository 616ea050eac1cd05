"""The pytest plugin: fixtures of the assertions, a marker, a seed, and a summary of what was tested.

pytest loads it in every run of every project that has `lawful` installed, so it imports nothing until a fixture is
used.
"""

from __future__ import annotations

import functools
import sys
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
    group.addoption(
        "--lawful-summary",
        action="store_true",
        help="after the run: models, laws, parameters with and without a witness, seconds",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker `lawful`."""
    config.addinivalue_line("markers", "lawful: checks conservation laws; select such tests with `-m lawful`")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that uses one of the fixtures."""
    for item in items:
        if {"assert_lawful", "assert_conserved", "assert_step_lawful"} & set(getattr(item, "fixturenames", ())):
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


@pytest.fixture
def assert_step_lawful() -> Callable[..., Any]:
    """`lawful.testing.assert_step_lawful`."""
    from lawful.testing.step import assert_step_lawful as check

    return check


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Puts what the assertions of a test have found into its report, which xdist carries to the summary."""
    outcome = yield
    module = sys.modules.get("lawful.testing.assertions")
    report = outcome.get_result()
    if module is not None and report.when == "call":
        report.user_properties += [("lawful", found.row) for found in module.SEEN]
        module.SEEN.clear()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line for every model that was tested, with `--lawful-summary`."""
    if not config.getoption("--lawful-summary"):
        return
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    rows = [value for r in reports for name, value in getattr(r, "user_properties", []) if name == "lawful"]
    terminalreporter.section("lawful")
    for row in rows:
        terminalreporter.write_line(row)
    terminalreporter.write_line(f"{len(rows)} models tested")
