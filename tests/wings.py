"""The picture of the house, read from its imports: `python tests/wings.py` writes it into docs/architecture.md."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
from repository import ROOT, modules

PAGE = ROOT / "docs" / "architecture.md"

# From below to above.  A wing imports wings further down alone; those of one line do not know each other.
ORDER = (
    ("theory/losses",),
    ("theory/gauge",),
    ("theory/laws",),
    ("theory/oracle",),
    ("theory/derive",),
    ("theory/flows", "theory/search"),
    ("blocks",),
    ("graph/architecture",),
    ("graph/families", "graph/drawing", "graph/tracing"),
    ("graph/questions",),
    ("dynamics", "catalog", "testing", "symmetry"),
    ("papers",),
    ("lawful",),
)
FLOOR = {wing: floor for floor, wings in enumerate(ORDER) for wing in wings}

# Parts that have to be right for a verdict to be right: patterns of files.
PARTS = {
    "running a module": (
        "theory/oracle/modules.py",
        "theory/oracle/lending/*.py",
        "theory/oracle/double.py",
        "theory/oracle/composed.py",
        "theory/oracle/aten.py",
        "theory/losses.py",
        "theory/loss_table.py",
    ),
    "running an architecture": (
        "blocks/*.py",
        "graph/architecture/block_graph.py",
        "graph/architecture/shapes.py",
        "graph/architecture/sharing.py",
        "graph/architecture/forward.py",
        "graph/architecture/patterns.py",
        "graph/architecture/points.py",
    ),
    "values of a law": (
        "theory/laws/statement.py",
        "theory/laws/law.py",
        "theory/laws/evaluate.py",
        "theory/parts.py",
    ),
    "the check of a law": ("theory/oracle/verification.py", "theory/oracle/measuring.py", "theory/verdict.py"),
    "counting": (
        "theory/oracle/counting.py",
        "theory/oracle/precise/*.py",
        "graph/questions/count.py",
        "graph/questions/fields.py",
        "graph/questions/module_fields.py",
        "theory/threads.py",
    ),
    "the check of a list": ("graph/questions/check.py", "graph/questions/check_report.py"),
    "small copies": ("graph/architecture/shrinking/*.py",),
    "the checker": ("theory/oracle/exact/checker.py",),
    "polynomials of networks": (
        "theory/oracle/exact/lowering.py",
        "theory/oracle/exact/operations.py",
        "theory/oracle/exact/program.py",
        "theory/oracle/exact/evaluate.py",
        "theory/oracle/exact/patterns.py",
        "graph/questions/exact.py",
        "graph/questions/certificate.py",
    ),
}
CORE = {
    "a law *holds* on a module": ("running a module", "values of a law", "the check of a law"),
    "a law *holds* on an architecture": ("running an architecture", "values of a law", "the check of a law"),
    "a *count* of a module": ("running a module", "counting"),
    "a *count* of an architecture": ("running an architecture", "counting"),
    "`check(...).complete`, counted on the network itself": (
        "running an architecture",
        "values of a law",
        "the check of a law",
        "counting",
        "the check of a list",
    ),
    "`check(...).complete`, counted on a small copy": (
        "running an architecture",
        "values of a law",
        "the check of a law",
        "counting",
        "the check of a list",
        "small copies",
    ),
    "a *certificate*, of the polynomial in the file": ("the checker",),
    "a *certificate*, of the network": ("the checker", "polynomials of networks", "running an architecture"),
}


def wing(path: Path) -> str:
    """The wing that a file stands in; what lies below all wings of theory is one too."""
    folder, *rest = path.relative_to(ROOT).parts
    if folder == "theory" and len(rest) == 1:
        return "theory/losses"
    return f"{folder}/{rest[0]}" if folder in ("theory", "graph") and len(rest) > 1 else folder


def imports(name: str, path: Path, known: set[str]) -> Iterator[str]:
    """The modules of the house that a file imports, at any depth of its code and for type checkers too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in known)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                found = f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base
                if found in known and found != name:
                    yield found


@functools.cache
def import_graph() -> nx.DiGraph:
    """Every module, with an edge to each that it imports; read once, and not changed by whoever asks."""
    found = modules()
    known = set(found)
    graph = nx.DiGraph()
    graph.add_nodes_from(found)
    graph.add_edges_from((n, target) for n, path in found.items() for target in imports(n, path, known))
    return graph


def circles() -> list[list[str]]:
    """Modules that import one another, directly or not."""
    return [sorted(c) for c in nx.strongly_connected_components(import_graph()) if len(c) > 1]


def against_the_order() -> list[str]:
    """Imports that do not run downwards."""
    found = modules()
    wings = {n: wing(path) for n, path in found.items()}
    doors = {"lawful.theory", "lawful.graph"}  # texts without imports
    return [
        f"{a} imports {b}"
        for a, b in import_graph().edges
        if wings[a] != wings[b] and not {a, b} & doors and FLOOR[wings[b]] >= FLOOR[wings[a]]
    ]


def lines(*patterns: str) -> tuple[int, int]:
    """Number of files, and of their lines."""
    files = {path for p in patterns for path in ROOT.glob(p)}
    return len(files), sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def picture() -> str:
    """The wings from above to below, and what each imports, as Mermaid."""
    found = modules()
    wings = {n: wing(path) for n, path in found.items()}
    graph = nx.DiGraph()
    graph.add_nodes_from(FLOOR)
    graph.add_edges_from(
        (wings[a], wings[b]) for a, b in import_graph().edges if wings[a] in FLOOR and wings[b] in FLOOR
    )
    graph.remove_edges_from([(a, b) for a, b in graph.edges if a == b])
    drawn = nx.transitive_reduction(graph) if nx.is_directed_acyclic_graph(graph) else graph
    size = {w: lines("theory/*.py" if w == "theory/losses" else f"{w}/**/*.py") for w in FLOOR}
    text = ["```mermaid", "graph TD"]
    for floor in reversed(ORDER):
        for w in floor:
            name = "theory: losses, verdict" if w == "theory/losses" else w
            text.append(f'    {w.replace("/", "_")}["{name}<br/>{size[w][0]} files, {round(size[w][1], -2):,} lines"]')
    text += sorted(f"    {a.replace('/', '_')} --> {b.replace('/', '_')}" for a, b in drawn.edges)
    return "\n".join([*text, "```"])


def core() -> str:
    """How much has to be right for each kind of verdict."""
    rows = ["| verdict | parts that must be right | lines |", "| --- | --- | --- |"]
    for what, parts in CORE.items():
        size = lines(*(p for part in parts for p in PARTS[part]))[1]
        rows.append(f"| {what} | {', '.join(parts)} | {round(size, -2):,} |")
    rows += ["", "| part | files | lines |", "| --- | --- | --- |"]
    for part, patterns in PARTS.items():
        rows.append(f"| {part} | {', '.join(f'`{p}`' for p in patterns)} | {round(lines(*patterns)[1], -2):,} |")
    return "\n".join(rows)


# Folders of many files, of which the page says what each is about.
LISTED = (
    "theory/gauge",
    "theory/gauge/rules",
    "theory/laws",
    "theory/derive",
    "theory/derive/limits",
    "theory/flows",
    "theory/oracle",
    "theory/oracle/precise",
    "theory/oracle/exact",
    "graph/architecture",
    "graph/architecture/shrinking",
    "graph/drawing",
    "graph/questions",
    "graph/tracing",
    "graph/tracing/ops",
    "graph/tracing/steps",
    "symmetry",
    "dynamics",
    "testing",
    "testing/witness",
    "catalog",
    "catalog/search",
    "lawful",
)


def files() -> str:
    """The files of large folders, each with the first line of its text."""
    rows = []
    for folder in LISTED:
        rows += [f"| `{folder}/` | |", "| --- | --- |"]
        for path in sorted((ROOT / folder).glob("*.py")):
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            if path.name != "__init__.py":
                rows.append(f"| `{path.name}` | {text.splitlines()[0].replace('|', chr(92) + '|') if text else ''} |")
        rows.append("")
    return "\n".join(rows).rstrip()


GENERATED = {"picture": picture, "core": core, "files": files}


def written(page: str) -> str:
    """The page with its generated parts made again."""
    for name, make in GENERATED.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(start)
        page = before + start + make() + "\n" + end + rest.partition(end)[2]
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
