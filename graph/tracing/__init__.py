"""Reading torch modules as architectures.

Answers: the architecture that computes what a module computes, compared with it, and what could not be read.
Imports: `architecture`, `lawful.blocks`, and of `lawful.theory` what runs a module.
Read first: `trace` (the order of steps), `lowering` (from calls to blocks), `ops` (one handler for every operation),
`steps` (what handlers are made of), `context` (what both may ask of a program).
"""

from ..architecture.origin import OpaqueOp, Trace
from .errors import TraceError
from .register import OpCall, register_op
from .trace import trace, trace_module, trace_with_point
from .values import NotUnderstood

__all__ = [
    "NotUnderstood",
    "OpCall",
    "OpaqueOp",
    "Trace",
    "TraceError",
    "register_op",
    "trace",
    "trace_module",
    "trace_with_point",
]
