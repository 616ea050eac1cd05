"""What to install for what lawful does with other packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version


def how_to_install(extra: str) -> str:
    """The command that adds an extra and keeps the build of torch that is there.

    Without the version pip may take another torch, with gigabytes of CUDA, for one that runs on the CPU.

    Args:
        extra: one of those of pyproject.toml, or several with commas between them.
    """
    return f"pip install 'lawful[{extra}]' torch=={version('torch')}"


class MissingPackageError(ModuleNotFoundError):
    """A package that is not installed; says what it is for and how to install it."""


@contextmanager
def needed(what: str, package: str, extra: str) -> Iterator[None]:
    """Around imports of a package that is an extra.

    Args:
        what: what needs it.
        package: its name as Python imports it.
        extra: the extra of pyproject.toml that brings it.

    Raises:
        MissingPackageError: if it is not installed, and if it hides what it lacks itself behind a name of its own (the
            lazy modules of transformers); says what that is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None:
            first: BaseException = error
            while first.__cause__ is not None:
                first = first.__cause__
            why = " ".join(f"{type(first).__name__}: {first}".split()).rstrip(".")
            text = f"{what} needs {package}, which does not load here ({why}); repair that, or {how_to_install(extra)}"
            raise MissingPackageError(text, name=package) from error
        if error.name.partition(".")[0] != package:
            raise
        text = f"{what} needs {package}, which is not installed; {how_to_install(extra)}"
        raise MissingPackageError(text, name=package) from error
