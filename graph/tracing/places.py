"""Where a call of an exported graph stands in the module and in its code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch.fx import Node

from .errors import foreign, short_path
from .purity import name_of

FRAME = re.compile(r'File "(.+?)", line (\d+), in .*\n\s*(.*)')


@dataclass(frozen=True)
class Place:
    """Where a call stands in the module and in its code.

    Attributes:
        module: path of the innermost submodule; empty for the module itself.
        module_type: its class.
        line: `file:line: code` of the innermost line that is not torch's own.
        op: the ATen operation.
    """

    module: str
    module_type: str
    line: str
    op: str

    def __str__(self) -> str:
        where = f"{self.module or 'the module'} ({self.module_type.rpartition('.')[2]})"
        return f"{self.op} in {where}" + (f" at {self.line}" if self.line else "")


def place_of(node: Node) -> Place:
    """Where a call of an exported graph stands in the module and in its code."""
    path, kind = "", ""
    for name, value in (node.meta.get("nn_module_stack") or {}).values():
        path, kind = name, value if isinstance(value, str) else f"{value.__module__}.{value.__qualname__}"
    path = "" if path == "module" else path.removeprefix("module.")
    frames = FRAME.findall(node.meta.get("stack_trace") or "")
    line = next((f"{short_path(f)}:{n}: {c}" for f, n, c in reversed(frames) if foreign(f)), "")
    return Place(path.split("@")[0], kind, line, name_of(node) or getattr(node.target, "__name__", str(node.target)))
