"""Audits the tables that quantisation packages ship, on tiny random copies of the models that they are for.

    pip install --no-deps --target FOLDER llmcompressor compressed-tensors loguru autoawq
    python examples/quantisation_registries.py FOLDER [TYPE ...]

The tables of llm-compressor (AWQ and SmoothQuant) are read from its files, and their patterns are matched by the
package's own function; AutoAWQ's are functions, of which the source is read and run on a layer.  No model name is
written here: what a type is called in a package is the name of the class that transformers builds.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from quantisation_maps import DENSE, EXPERTS
from torch import nn

import lawful as lw
from lawful.atlas.models import build
from lawful.atlas.stubs import declare_torchvision

Entry = dict[str, list[str]]


def compressor(folder: Path, model: nn.Module) -> Iterator[tuple[str, list[Entry], list[str]]]:
    """The tables of llm-compressor for a model: a title, entries by module names, and what matched nothing."""
    from compressed_tensors.utils.match import match_modules_set

    transforms = folder / "llmcompressor" / "modifiers" / "transform"
    awq = _file(transforms / "awq" / "mappings.py").AWQ_MAPPING_REGISTRY.get(type(model).__name__)
    smoothquant = _file(transforms / "smoothquant" / "utils.py").MAPPINGS_REGISTRY.get(type(model).__name__)
    names = {id(m): n for n, m in model.named_modules()}
    tables = (
        ("AWQ", [(m.smooth_layer, m.balance_layers) for m in awq or ()]),
        ("SmoothQuant", [(m.smooth_layers, m.balance_layers) for m in smoothquant or ()]),
    )
    for title, table in tables:
        entries, lost = [], []
        for smooth, balance in table:
            try:
                for scaled, *readers in match_modules_set(model, (smooth, *balance)):
                    flat = [names[id(m)] for group in readers for m in group]
                    if len(scaled) > 1:  # which the package refuses
                        lost.append(f"{smooth}: matches {len(scaled)} modules as one set, {names[id(scaled[0])]} first")
                        continue
                    entries.append({"scale": [names[id(scaled[0])]], "compensate": flat})
            except ValueError as error:
                lost.append(f"{smooth}: {str(error).splitlines()[0]}")
        yield title, entries, lost


def _file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.parent.name + path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def autoawq(folder: Path, model: nn.Module) -> list[Entry] | None:
    """What AutoAWQ scales in every layer of a model; None where it has no table for it."""
    for path in sorted((folder / "awq" / "models").glob("*.py")):
        source = path.read_text()
        if not re.search(rf"\b{type(model).__name__}\b", source):
            continue
        found = {
            f.name: _function(f)
            for c in ast.parse(source).body
            if isinstance(c, ast.ClassDef)
            for f in c.body
            if isinstance(f, ast.FunctionDef) and f.name in ("get_layers_for_scaling", "get_model_layers")
        }
        if len(found) == 2:
            names = {id(m): n for n, m in model.named_modules()}
            scaled = found["get_layers_for_scaling"]
            tables = [scaled(layer, defaultdict(str), {}) for layer in found["get_model_layers"](model)]
            return [
                {"scale": [names[id(one["prev_op"])]], "compensate": [names[id(m)] for m in one["layers"]]}
                for table in tables
                for one in table
            ]
    return None


def _function(tree: ast.FunctionDef) -> Callable[..., Any]:
    """A function from its source, without its decorators and the types of its arguments."""
    tree.decorator_list, tree.returns = [], None
    for argument in tree.args.args:
        argument.annotation = None
    scope: dict[str, Any] = {"torch": torch}
    exec(compile(ast.Module([tree], []), "autoawq", "exec"), scope)
    function: Callable[..., Any] = scope[tree.name]
    return function


def audited(kind: str, folder: Path) -> None:
    """Prints what the tables of all packages do to a tiny model of a type."""
    torch.manual_seed(0)
    built = build(f"hf:{kind}", full=False)
    model = getattr(built.module, "module", built.module)
    found = lw.symmetries(built.module, args=built.args, kwargs=built.kwargs)
    prefix = next(n for n, m in built.module.named_modules() if m is model)
    tables = [*compressor(folder, model)]
    try:
        own = autoawq(folder, model)
        tables.append(("AutoAWQ", own or [], []))
    except (AttributeError, KeyError) as error:
        tables.append(("AutoAWQ", [], [f"written for another version of transformers: {error}"]))
    for title, entries, lost in tables:
        if not entries and not lost:
            print(f"{kind:14} {title:12} no table", flush=True)
            continue
        full = [{k: [_at(prefix, n) for n in v] for k, v in e.items()} for e in entries]
        findings = [f for e in full for f in lw.audit({**e, "scale": e["scale"][0]}, found).findings]
        counts = Counter(f.verdict.value for f in findings)
        print(f"{kind:14} {title:12} " + ", ".join(f"{n} {v}" for v, n in counts.items()), flush=True)
        seen: set[str] = set()
        for f in findings:
            said = f.reason if len(str(f)) > 400 else str(f)
            if f.verdict.value != "holds" and said not in seen:
                seen.add(said)
                print(f"    {said}", flush=True)
        for one in lost:
            print(f"    {one}", flush=True)


def _at(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def main(arguments: Sequence[str] | None = None) -> None:
    """Audits the tables of all packages in a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("types", nargs="*", default=[*DENSE, *EXPERTS])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    declare_torchvision()
    sys.path.append(str(options.folder))
    for kind in options.types:
        audited(kind, options.folder)


if __name__ == "__main__":
    main()
