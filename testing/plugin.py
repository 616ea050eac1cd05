"""The pytest plugin: fixtures of the assertions, a marker, a seed, the lock file, and a summary of what was tested.

pytest loads it in every run of every project that has `lawful` installed, so it imports nothing until a fixture is
used.
"""

from __future__ import annotations

import functools
import linecache
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIXTURES = {"assert_conserved", "assert_lawful", "assert_locked", "assert_step_lawful"}
BETWEEN = ("lawful", "torch", "contextlib", "functools")  # what stands between the lines of a user
PARTIAL = "lawful-partial"  # a step that nothing judges some parameters of
OUTPUT = "lawful_locked"  # what a process of xdist hands over: entries, and what is wrong with them
LOCKED = pytest.StashKey[dict[str, Any]]()
PROBLEMS = pytest.StashKey[list[str]]()
SAID = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options, and the place of the lock file."""
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
    group.addoption(
        "--lawful-update",
        action="store_true",
        help="write what the tests with assert_locked find into the lock file, instead of comparing it",
    )
    parser.addini("lawful_lock", "the lock file of lawful, from pytest's root folder", default="laws.lock.json")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker `lawful`."""
    config.addinivalue_line("markers", "lawful: checks conservation laws; select such tests with `-m lawful`")
    config.stash[LOCKED], config.stash[PROBLEMS], config.stash[SAID] = {}, [], []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that uses one of the fixtures."""
    for item in items:
        if FIXTURES & set(getattr(item, "fixturenames", ())):
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


@pytest.fixture
def assert_locked(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`lawful.testing.assert_locked` with the lock file of the project, which `--lawful-update` writes."""
    from lawful.testing.lock import assert_locked as check
    from lawful.testing.lock import entry, expect_name, to_lock

    config, path = request.config, lock_file(request.config)
    if not config.getoption("--lawful-update"):
        return functools.partial(check, path=path)

    def update(name: str, network: Any, args: Any = (), kwargs: Any = None, loss: Any = "mse") -> Any:
        expect_name(name)
        laws = to_lock(network, args, kwargs, loss)
        _gather(config, {name: entry(laws)})
        return laws

    return update


def lock_file(config: pytest.Config) -> Path:
    """The lock file of the project."""
    return config.rootpath / str(config.getini("lawful_lock"))


def _gather(config: pytest.Config, entries: dict[str, Any]) -> None:
    """Keeps entries until the end of the run; two tests may lock one model if they find the same."""
    known = config.stash[LOCKED]
    for name, one in entries.items():
        if known.setdefault(name, one) != one:
            config.stash[PROBLEMS].append(f"two tests lock {name!r} with other laws; give them names of their own")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """Takes what a process of xdist has found."""
    found = getattr(node, "workeroutput", {}).get(OUTPUT)
    if found:
        _gather(node.config, found[0])
        node.config.stash[PROBLEMS].extend(found[1])


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the lock file, once, in the process that all others report to."""
    config = session.config
    entries = config.stash[LOCKED]
    met = config.stash[PROBLEMS]
    problems = list(dict.fromkeys(met))
    if not entries:
        return
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output[OUTPUT] = (entries, problems)
        return
    from lawful.testing.lock import LockError, write

    path = lock_file(config)
    if not problems:
        try:
            changed = write(entries, path)
            what = f"{len(changed)} written: {', '.join(changed)}" if changed else "nothing to write"
            config.stash[SAID].append(
                f"{path.name}: {len(entries)} {'model' if len(entries) == 1 else 'models'}, {what}"
            )
        except LockError as error:
            problems = [str(error)]
    if problems:
        config.stash[SAID].extend(f"{path.name} was not written: {p}" for p in problems)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Shows refusals at the user's own line (`--full-trace` shows every line).

    Puts what the assertions of a test have found into its report, which xdist carries to the summary.
    """
    if call.excinfo is not None and not item.config.getoption("fulltrace") and _is_refusal(call.excinfo.value):
        _shorten(call.excinfo.value)
        call.excinfo = pytest.ExceptionInfo.from_exception(call.excinfo.value)
    outcome = yield
    module = sys.modules.get("lawful.testing.assertions")
    report = outcome.get_result()
    if module is not None and report.when == "call":
        report.user_properties += [("lawful", found.row) for found in module.SEEN]
        report.user_properties += [(PARTIAL, found.partial) for found in module.SEEN if found.partial]
        module.SEEN.clear()


def _is_refusal(error: BaseException) -> bool:
    """Whether an error was written by lawful, as the last line that ran shows; a mistake of lawful itself is none."""
    steps = list(traceback.walk_tb(error.__traceback__))
    if not steps or not _is_ours(steps[-1][0]):
        return False
    frame, line = steps[-1]
    return linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")


def _is_ours(frame: types.FrameType) -> bool:
    return _package(frame) == "lawful"


def _is_between(frame: types.FrameType) -> bool:
    """Whether a line is neither the user's nor that of another library: ours, torch's, or code that was generated."""
    return _package(frame) in BETWEEN or frame.f_code.co_filename.startswith("<")


def _package(frame: types.FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _shorten(error: BaseException) -> None:
    """Leaves the lines that are the user's, in an error and in those that it came from; one without any is dropped."""
    steps = [s for s in traceback.walk_tb(error.__traceback__) if not _is_between(s[0])]
    found = None
    for frame, line in reversed(steps):
        found = types.TracebackType(found, frame, frame.f_lasti, line)
    error.__traceback__ = found
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is None:
        return
    _shorten(cause)
    if cause.__traceback__ is None:
        error.__cause__ = None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What was written into the lock file, and steps that were judged in part; more with `--lawful-summary`."""
    said, summary = config.stash[SAID], config.getoption("--lawful-summary")
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    found = [found for r in reports for found in getattr(r, "user_properties", [])]
    partial = dict.fromkeys(value for name, value in found if name == PARTIAL)
    if not said and not summary and not partial:
        return
    terminalreporter.section("lawful")
    if summary:
        rows = [value for name, value in found if name == "lawful"]
        for row in rows:
            terminalreporter.write_line(row)
        terminalreporter.write_line(f"{len(rows)} {'model' if len(rows) == 1 else 'models'} tested")
    for line in partial:
        terminalreporter.write_line(f"{line}; assert_lawful judges these")
    for line in said:
        terminalreporter.write_line(line)
