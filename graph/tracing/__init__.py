"""Reading torch modules as architectures."""

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
