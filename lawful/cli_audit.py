"""`lawful audit`: does a quantisation tool's map leave a network's function alone?"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from lawful.theory.refusals import said

from .bad_input import BadInput
from .specs import load
from .terminal import AsJson, console, finish, print_json, single_thread, status

LARGEST = 300_000_000  # parameters: more than this takes gigabytes in float64

ENTRIES = (
    'a list of {"smooth_layer": a, "balance_layers": [b]} (AWQ), [[b], a] (SmoothQuant) or '
    '{"scale": a, "compensate": [b]}'
)
Map = Annotated[
    Path,
    typer.Argument(metavar="MAP", help=f'JSON: {ENTRIES}; names or "re:..."'),
]
Spec = Annotated[str, typer.Argument(help="a network, as for derive")]


def audit(
    mapping: Map,
    spec: Spec,
    seed: Annotated[int, typer.Option(help="of inputs and factors")] = 0,
    as_json: AsJson = False,
) -> None:
    """Check a map "scale this, compensate there" against the symmetries of a network.

    An entry holds if a symmetry proves it, is violated if outputs change (consumers are named), and undecided else.
    """
    from lawful.symmetry.audit import audit as audit_map
    from lawful.symmetry.symmetries import symmetries

    try:
        entries = json.loads(mapping.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read the map {mapping}: {error.strerror}; it is a JSON file with {ENTRIES}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the map {mapping} is no JSON ({said(error)}); write {ENTRIES}") from error
    if not isinstance(entries, list | dict):
        raise BadInput(f"the map {mapping} holds {type(entries).__name__}; write {ENTRIES}")
    single_thread()
    arch = load(spec)
    size = sum(p.size for p in arch.parameters.values())
    if size > LARGEST:
        raise BadInput(
            f"{spec} has {size:,} parameters, an audit runs up to {LARGEST:,}; choose a smaller one of its kind"
        )
    with status(as_json, "looking for symmetries"):
        found = symmetries(arch)
        try:
            result = audit_map(entries, found, seed=seed)
        except ValueError as error:
            raise BadInput(f"{mapping}: {error}") from error
    if as_json:
        rows = [
            {
                "smooth": f.smooth,
                "balance": list(f.balance),
                "verdict": str(f.verdict),
                "error": f.error if math.isfinite(f.error) else None,
                "missing": list(f.missing),
                "wrong": list(f.wrong),
                "reason": f.reason,
            }
            for f in result.findings
        ]
        print_json({"network": spec, "verdict": str(result.verdict), "entries": rows, "unused": list(result.unused)})
    else:
        console(False).print(str(result), highlight=False, markup=False, soft_wrap=True)
    finish(result.verdict.passed)
