"""The house rules that a reader cannot see in one file: which folder may import which, and what gets packaged."""

import ast
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import PACKAGES, PYPROJECT, ROOT, modules

# Each folder imports only folders of a lower floor; those of one floor do not know each other.
FLOORS = (
    ("lawful.theory",),
    ("lawful.blocks",),
    ("lawful.graph",),
    ("lawful.dynamics", "lawful.catalog", "lawful.testing", "lawful.symmetry"),
    ("lawful.papers",),
    ("lawful",),
)
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
FOLDERS = {path.name for path in PACKAGES.values()} - {"lawful"}
PRIVATE = re.compile(r"(^|\.)_(?!_)")
# what the documentation of torch tells its users to import; there are no other names for them
DOCUMENTED = (
    "torch._subclasses.fake_tensor.FakeTensorMode",
    "torch.utils._python_dispatch.TorchDispatchMode",
    "torch.utils._pytree",
)


def package_of(module: str) -> str | None:
    """The folder of the house that a dotted name lies in, by its import name; None for a foreign name."""
    inside = [package for package in FLOOR if module == package or module.startswith(package + ".")]
    return max(inside, key=len, default=None)


def imports(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that `source` imports, at any depth, as the module `module`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parents = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def complaints(source: str, module: str, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of one file; empty if nothing is."""
    home, found = package_of(module), []
    for line, name in imports(source, module, is_package):
        target = package_of(name)
        where = f"{module}, line {line}: imports {name}"
        if name.split(".")[0] in FOLDERS:
            found.append(f"{where}; the folder is called lawful.{name.split('.')[0]}")
        if PRIVATE.search(name) and name not in DOCUMENTED and (target is None or target != home):
            found.append(f"{where}, which is private to another package")
        if home and target and target != home and FLOOR[target] >= FLOOR[home]:
            found.append(f"{where}, which does not lie below {home}")
    return found


@pytest.mark.parametrize("module", modules())
def test_imports_run_one_way(module: str) -> None:
    path = modules()[module]
    assert complaints(path.read_text(encoding="utf-8"), module, path.name == "__init__.py") == []


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "examples"])
def test_nothing_outside_imports_a_private_module(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert [text for path in paths for text in complaints(path.read_text(encoding="utf-8"), path.stem)] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lawful.theory.law", "import lawful.blocks"),
        ("lawful.theory.law", "from lawful import graph"),
        ("lawful.theory.law", "from lawful import derive"),
        ("lawful.theory.law", "import lawful"),
        ("lawful.theory.law", "def f():\n    from ..blocks.linear import Linear"),
        ("lawful.theory.law", "if TYPE_CHECKING:\n    from .. import blocks"),
        ("lawful.graph.families.resnet", "from ...dynamics import ledger"),
        ("lawful.graph", "from ..lawful import cli"),
        ("lawful.catalog.store", "from lawful.testing import strategies"),
        ("lawful.blocks.linear", "from theory import law"),
        ("lawful.blocks.linear", "from lawful.theory._rank import rank"),
        ("lawful.blocks.linear", "from lawful.theory import _rank"),
        ("lawful.blocks.linear", "from torch._export import non_strict_utils"),
        ("test_blocks", "import lawful.theory._rank"),
    ],
)
def test_a_bad_import_is_refused(module: str, source: str) -> None:
    assert len(complaints(source, module, is_package=module == "lawful.graph")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lawful.theory.law", "from ._rank import rank\nfrom . import _rank\nfrom lawful.theory import _rank"),
        ("lawful.graph.families.resnet", "from __future__ import annotations\nfrom ...blocks import Linear"),
        ("lawful.graph.families.resnet", "import torch\nfrom ..engine import derive\nfrom lawful import theory"),
        ("lawful.catalog.store", "from lawful.graph import Architecture"),
        ("lawful.cli", "from . import __version__, catalog, derive\nfrom .testing import strategies"),
        ("test_catalog", "import lawful\nfrom lawful.catalog import search"),
    ],
)
def test_a_good_import_passes(module: str, source: str) -> None:
    assert complaints(source, module) == []


def test_every_folder_has_a_floor() -> None:
    assert set(FLOOR) == set(PACKAGES)


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without `__init__.py` works in an editable install and is left out of a built one."""
    folders: set[Path] = {path.parent for path in modules().values()}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_version_is_written_once() -> None:
    lawful = importlib.import_module("lawful")
    declared = PYPROJECT["project"]["version"]
    assert importlib.metadata.version("lawful") == declared
    assert getattr(lawful, "__version__", declared) == declared


def test_the_readme_agrees_on_the_python_version() -> None:
    needed = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    named = re.findall(r"Python\s*(?:>=|≥)?\s*(3\.\d+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert set(named) == {needed}
