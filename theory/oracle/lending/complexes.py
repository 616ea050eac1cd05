"""Complex parameters as real ones: gradient flow is that of their real and imaginary parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def real_parts(module: object) -> Iterator[None]:
    """Inside, every complex parameter of a module is a real one of the same name with a last axis of two.

    The memory stays the same.  What the forward reads under that name is complex as before: the class of the part that
    holds the parameter gets a property that joins the two.

    Args:
        module: any module; whatever else is left alone.
    """
    found = list(_complex(module)) if isinstance(module, nn.Module) else []
    before = [(part, part.__class__, dict(part._parameters)) for part in dict.fromkeys(p for p, _, _ in found)]
    real: dict[int, nn.Parameter] = {}
    try:
        for part, name, parameter in found:
            if id(parameter) not in real:
                numbers = torch.view_as_real(parameter.detach())
                real[id(parameter)] = nn.Parameter(numbers, requires_grad=parameter.requires_grad)
            part._parameters[name] = real[id(parameter)]
            part.__class__ = _joining(part.__class__, name)
        yield
    finally:
        for part, kind, parameters in before:
            part.__class__ = kind
            part._parameters.update(parameters)


def _complex(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and parameter.is_complex():
                yield part, name, parameter


def _joining(kind: type[nn.Module], name: str) -> Any:
    """A class of modules one of whose parameters holds the parts of the complex tensor that its name gives."""

    def joined(self: nn.Module) -> torch.Tensor:
        numbers = self._parameters.get(name)
        if numbers is None:  # a module that the forward makes of its own class; torch looks on, among its buffers
            raise AttributeError(name)
        return numbers if numbers.is_complex() else torch.view_as_complex(numbers)

    own = {name: property(joined), "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    try:
        return type(kind.__name__, (kind,), own)
    except TypeError:  # a class that wants to be told more of every subclass: this one is not announced
        before = kind.__dict__.get("__init_subclass__")
        kind.__init_subclass__ = classmethod(lambda cls, **named: None)  # type: ignore[assignment]
        try:
            return type(kind.__name__, (kind,), own)
        finally:
            if before is None:
                del kind.__init_subclass__
            else:
                kind.__init_subclass__ = before  # type: ignore[method-assign]


__all__ = ["real_parts"]
