"""What goes wrong with flows."""

from __future__ import annotations


class FlowError(ValueError):
    """A flow that does not fit a network, or a state that a flow cannot have."""
