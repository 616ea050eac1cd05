"""What no kernel of torch shows while a module runs: calls of an `autograd.Function`, and where `no_grad` begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from .checkpoints import CheckpointFunction, looked_into
from .tape import Place, Stop, Tape

REGION, INFERENCE = "a no_grad region", "an inference_mode region"


class Listener(Protocol):
    """Who is told.

    Attributes:
        tape: what is written.
        regions: where the `no_grad` regions begin that are open.
        deaf: whether what runs is not what backward goes through.
    """

    tape: Tape
    regions: list[Stop]
    deaf: bool

    def enter(self, function: type[torch.autograd.Function], args: tuple[Any, ...]) -> int:
        """A call of an `autograd.Function` begins; gives its number."""

    def leave(self, number: int, out: Any) -> None:
        """It ends."""

    def place(self) -> Place:
        """The line that runs."""


def _branch(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Sequence[Any] = ()) -> Any:
    """What `torch.cond` gives, which compiles both branches where nothing can be seen of either."""
    return true_fn(*operands) if bool(pred) else false_fn(*operands)


@contextmanager
def listening(recorder: Listener) -> Iterator[None]:
    """Tells a recorder of every call of an `autograd.Function`, and of every `no_grad` region."""
    level = torch.autograd.Function.__mro__[1]
    kinds: list[Any] = [torch.no_grad, torch.set_grad_enabled, torch.inference_mode]
    own = [(k, k.__enter__, k.__exit__) for k in kinds]

    def apply(cls: type[torch.autograd.Function], *args: Any) -> Any:
        if cls is CheckpointFunction:
            return looked_into(recorder, super(level, cls).apply, *args)  # type: ignore[arg-type]
        number = recorder.enter(cls, args)
        out = super(level, cls).apply(*args)  # type: ignore[arg-type]
        recorder.leave(number, out)
        return out

    def opened(enter: Callable[[Any], None], why: str) -> Callable[[Any], None]:
        def run(self: Any) -> None:
            recorder.regions.append(Stop(recorder.place(), why))
            enter(self)

        return run

    def closed(leave: Callable[..., None]) -> Callable[..., None]:
        def run(self: Any, *args: Any) -> None:
            if recorder.regions:
                recorder.regions.pop()
            leave(self, *args)

        return run

    cond = torch.cond
    torch.cond = _branch
    level.apply = classmethod(apply)  # type: ignore[attr-defined]
    for kind, enter, leave in own:
        why = INFERENCE if kind is torch.inference_mode else REGION
        kind.__enter__, kind.__exit__ = opened(enter, why), closed(leave)
    try:
        yield
    finally:
        torch.cond = cond
        del level.apply  # type: ignore[attr-defined]
        for kind, enter, leave in own:
            kind.__enter__, kind.__exit__ = enter, leave


__all__ = ["REGION", "Listener", "listening"]
