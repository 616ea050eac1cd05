"""What the user asked for and cannot be done."""

from __future__ import annotations


class BadInput(ValueError):
    """What the user asked for cannot be done; one sentence that says why and what to do."""


def reason(error: BaseException) -> str:
    """The message of an error on one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())


__all__ = ["BadInput", "reason"]
