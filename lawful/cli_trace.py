"""What the commands say about a network that was read from torch: what was not understood, and what was compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lawful.theory.arguments import plural

from .tables import number

if TYPE_CHECKING:
    from lawful.graph.architecture.architecture import Architecture
    from lawful.graph.tracing import OpaqueOp

MOST = 20  # opaque operations that are listed one by one


def trace_lines(arch: Architecture, said: Sequence[str] = ()) -> list[str]:
    """The findings of tracing, one a line, but for what was said; none for an architecture that was composed."""
    trace = arch.trace
    if trace is None:
        return []
    lines = [f"read in {'training' if trace.training else 'evaluation'} mode"]
    if trace.opaque:
        hidden = sum(op.shadowed for op in trace.opaque)
        lines.append(
            f"traced with {plural(len(trace.opaque), 'opaque operation')}: laws that reach through them are missing"
        )
        lines += [_opaque_line(op) for op in trace.opaque[:MOST] if str(op) not in said]
        if len(trace.opaque) > MOST:
            lines.append(f"  and {len(trace.opaque) - MOST} more; they hide {hidden:,} trainable scalars in all")
    elif not trace.narrow:
        lines.append("traced: every operation is understood")
    if trace.narrow:
        lines.append(
            f"{len(trace.narrow)} operations are known by their degrees only: laws through them may be missing"
        )
        lines += [_opaque_line(op) for op in trace.narrow[:MOST]]
    if trace.comparison is not None:
        lines.append(trace.comparison.summary)
    else:
        lines.append("the module has no weights, so the traced network was not compared with it")
    if trace.unused:
        lines.append(f"parameters that the output does not depend on: {', '.join(trace.unused)}")
    return [*lines, *(n for n in trace.notes if n not in trace.limits)]


def _opaque_line(op: OpaqueOp) -> str:
    place = ", ".join(filter(None, (f"{op.module} ({op.module_type})" if op.module else op.module_type, op.line)))
    return f"  {op.op} in {place or op.node}: hides {op.shadowed:,} trainable scalars"


def trace_data(arch: Architecture) -> dict[str, Any]:
    """The findings of tracing as plain data, under `trace`; nothing for an architecture that was composed."""
    trace = arch.trace
    if trace is None:
        return {}
    found = trace.comparison
    compared = {"outputs": number(found.outputs), "gradients": number(found.gradients)} if found is not None else None
    names = {"node": "node", "op": "op", "module": "module", "type": "module_type", "line": "line", "hides": "shadowed"}
    opaque = [{name: getattr(op, attribute) for name, attribute in names.items()} for op in trace.opaque]
    return {
        "trace": {
            "opaque": opaque,
            "aliases": dict(trace.aliases),
            "unused": list(trace.unused),
            "comparison": compared,
            "notes": list(trace.notes),
            "seconds": dict(trace.seconds),
        }
    }
