"""Specs: how the command line names a network.

    family:resnet18                       a family with its defaults
    family:mlp:widths=3,4,2:bias=false    a family with options
    torchvision:vgg16, timm:resnet50      a published image classifier, without its weights, in evaluation mode
    hf:gpt2, hf:path/to/folder            a model type of transformers, or a folder with a config.json, likewise
    hf:gpt2:n_layer=2:n_embd=8:n_head=2, timm:resnet18:training
                                          the same with options of its configuration (of its maker), or in training mode
    path/to/file.py:function              what a function of the user's own file returns: an architecture, an
                                          expression of blocks, or a torch module with what it reads, `(module, args)`
                                          or `(module, args, kwargs)`; options are its arguments by name:
                                          nets.py:make:width=4:bias=false
    arch.json                             a file that `Architecture.to_json` wrote

No character in a spec means anything to a shell.  Options may be joined by commas too (`layers=2,width=64`).  Their
values are literals: integers, floats, `true`, `false`, names, lists of them with commas (`widths=3,` is a list of one),
and lists of lists with slashes (`stages=8,8/16,16`).  Only a `.py` spec runs code: the file that it names.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bad_input import BadInput, reason
from .user_files import importable, made_by, module_call

if TYPE_CHECKING:
    from torch.nn import Module

    from lawful.graph.architecture.architecture import Architecture

MODELS = ("torchvision", "timm", "hf")
OWN = re.compile(r"(.+?\.py):([^:]*)((?::.*)?)")  # file, function, options
FORMS = "family:NAME, torchvision:NAME, timm:NAME, hf:TYPE, path/to/file.py:function or arch.json"


def expect_form(spec: str) -> str:
    """The spec itself, if it can be one; found out without loading torch.

    Raises:
        BadInput: as `load`, for what no network can be behind.
    """
    head, _, rest = spec.partition(":")
    if head == "family":
        name, *options = _parts(rest)
        known = _family_names()
        if name not in known:
            near = difflib.get_close_matches(name, known, 3)
            hint = f"did you mean {' or '.join(near)}? there" if near else "there"
            raise BadInput(f"no family {name!r}; {hint} are {', '.join(known)}")
        for option in options:
            key, equals, value = option.partition("=")
            if not (key and equals and value):
                raise BadInput(
                    f"option {option!r} of family {name} has no value; write key=value, with a colon between options"
                )
    elif head in MODELS:
        _options(spec)
    elif spec.endswith(".json"):
        if not Path(spec).is_file():
            raise BadInput(f"cannot read {spec}: No such file or directory; write one with Architecture.to_json")
    elif spec.endswith(".py"):
        raise BadInput(f"{spec} does not say which function makes the network; write {spec}:function")
    elif (own := OWN.fullmatch(spec)) is not None:
        path, function, words = own.groups()
        if not Path(path).is_file():
            raise BadInput(f"there is no file {path}; write path/to/file.py:function")
        _values(words, f"{path}:{function}")
    else:
        raise BadInput(f"cannot read {spec!r} as a network; write {FORMS}")
    return spec


def expect_writable(path: Path, ending: str = "") -> None:
    """Checks that a file can be written, before anything long begins.

    Raises:
        BadInput: if its folder is not there, it is a folder itself, or its name ends otherwise.
    """
    from lawful.theory.files import expect_writable as expect

    if not path.name.lower().endswith(ending):
        raise BadInput(f"cannot write to {path.name}: the ending must be {ending}")
    expect(path, BadInput)


def _family_names() -> list[str]:
    """The names of all families, read from their list without running it."""
    found = importlib.util.find_spec("lawful.graph.families")
    assert found is not None and found.origin is not None
    for line in ast.parse(Path(found.origin).read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "__all__":
            return sorted(ast.literal_eval(line.value))
    raise AssertionError("the families have no list of names")


def load(spec: str) -> Architecture:
    """The architecture that a spec names.

    Raises:
        BadInput: if there is none; says which part of the spec is wrong.
    """
    expect_form(spec)
    head, _, rest = spec.partition(":")
    if head == "family":
        return _family(rest)
    if head in MODELS:
        return _published(spec)
    if spec.endswith(".json"):
        return _json(Path(spec))
    own = OWN.fullmatch(spec)
    assert own is not None
    path, function, words = own.groups()
    return _file(Path(path), function, _values(words, f"{path}:{function}"))


def families() -> dict[str, Callable[..., Architecture]]:
    """The families by name."""
    from lawful.graph import families as module

    return {name: getattr(module, name) for name in module.__all__}


def _family(text: str) -> Architecture:
    name, *options = _parts(text)
    known = families()
    allowed = inspect.signature(known[name]).parameters
    hints = typing.get_type_hints(known[name])
    values: dict[str, Any] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in allowed:
            raise BadInput(f"family {name} has no option {key!r}; it has {', '.join(allowed)}")
        if key in values:
            raise BadInput(f"option {key!r} of family {name} is given twice")
        values[key] = _value(_literal(value), hints[key], f"option {key!r} of family {name}")
    missing = [k for k, p in allowed.items() if p.default is inspect.Parameter.empty and k not in values]
    if missing:
        raise BadInput(f"family {name} needs the option {missing[0]!r}; write family:{name}:{missing[0]}=...")
    return known[name](**values)


def _literal(text: str) -> Any:
    """An option's value: a scalar, a tuple of scalars, or a tuple of such tuples."""
    if "/" in text:
        return tuple(_literal(part if "," in part else f"{part},") for part in text.split("/"))
    if "," in text:
        return tuple(_scalar(part) for part in text.split(",") if part)
    return _scalar(text)


def _scalar(text: str) -> int | float | bool | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _value(value: Any, hint: Any, where: str) -> Any:
    """An option's value as the type that the family asks for; a single one does for a list."""
    if typing.get_origin(hint) is Sequence:
        item = typing.get_args(hint)[0]
        return tuple(_value(part, item, where) for part in (value if isinstance(value, tuple) else (value,)))
    wanted = (int, float) if hint is float else hint
    if not isinstance(value, wanted) or isinstance(value, bool) != (hint is bool):
        raise BadInput(f"{where} has {value!r}, expected {hint.__name__}")
    return value


def small(spec: str) -> Architecture:
    """A small instance of a published model, from its own configuration or the arguments of its class.

    Raises:
        BadInput: if there is none; says what the user can make smaller.
    """
    return _published(spec, small=True)


def instance_of(spec: str) -> Callable[[], Architecture] | None:
    """What makes a small instance of the model of a spec; None where only shrinking can."""
    return partial(small, spec) if spec.partition(":")[0] in MODELS else None


def _published(spec: str, small: bool = False) -> Architecture:
    from .atlas.built import NotBuilt
    from .atlas.models import build, instance

    name, training, options = _options(spec)
    try:
        built = (
            instance(name, training, options) if small else build(name, full=True, training=training, options=options)
        )
    except NotBuilt as error:
        raise BadInput(f"{spec}: {error}") from error
    return _traced(spec, built.module, built.args, built.kwargs)


def _parts(text: str) -> list[str]:
    """What a spec joins: a comma before the next `key=` separates options as a colon does."""
    head, *rest = text.split(":")
    return [head, *(part for word in rest for part in re.split(r",(?=[A-Za-z_]\w*=)", word))]


def _options(spec: str) -> tuple[str, bool, dict[str, Any]]:
    """The name of a published model, whether it is in training mode, and the options of its maker."""
    source, name, *words = _parts(spec)
    modes = [word for word in words if word in ("training", "evaluation")]
    others = [word for word in words if word not in modes]
    values = _keywords(others, f"{source}:{name}", "key=value, training or evaluation")
    return f"{source}:{name}", modes[-1:] == ["training"], values


def _values(words: str, where: str) -> dict[str, Any]:
    """The options of a function of the user's own: its arguments by name."""
    return _keywords([word for word in _parts(words)[1:] if word], where, "key=value")


def _keywords(words: Sequence[str], where: str, form: str) -> dict[str, Any]:
    """Options as arguments by name."""
    values: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value or not key.isidentifier():
            raise BadInput(f"option {word!r} of {where} is none; write {form}")
        if key in values:
            raise BadInput(f"option {key!r} of {where} is given twice")
        values[key] = _literal(value)
    return values


def _traced(spec: str, module: Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Architecture:
    from lawful.graph.tracing import TraceError, trace

    try:
        return trace(module, *args, **kwargs)
    except TraceError as error:
        raise BadInput(f"{spec}: {error}") from error


def _json(path: Path) -> Architecture:
    from lawful.blocks import ShapeError
    from lawful.graph.architecture.architecture import Architecture

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {reason(error)}") from error
    try:
        return Architecture.from_json(text)
    except ShapeError as error:
        raise BadInput(f"{path}: {error}") from error


def _file(path: Path, function: str, options: Mapping[str, Any]) -> Architecture:
    from lawful.blocks import Net
    from lawful.graph.architecture.architecture import Architecture

    where = f"{path}:{function}"
    with importable(Path.cwd(), path.absolute().parent):
        made = made_by(path, function, options)
        if isinstance(made, Net):
            return Architecture(made)
        return made if isinstance(made, Architecture) else _traced(where, *module_call(made, where))
