"""What to install for what lawful does with other packages."""

from __future__ import annotations

from importlib.metadata import version


def how_to_install(extra: str) -> str:
    """The command that adds an extra and keeps the build of torch that is there.

    Without the version pip may take another torch, with gigabytes of CUDA, for one that runs on the CPU.

    Args:
        extra: one of those of pyproject.toml, or several with commas between them.
    """
    return f"pip install 'lawful[{extra}]' torch=={version('torch')}"
