"""Operations of torch itself whose gradient is documented not to be the derivative."""

from __future__ import annotations

from .tape import Step, Tape

FREQUENCY = ("aten.embedding", "aten._embedding_bag", "aten.embedding_bag")
SCALED = 3  # which of their arguments is `scale_grad_by_freq`
FAKE = ("fake_quantize", "obs_fq")  # in the names of what rounds and passes its gradient on


def by_frequency(step: Step) -> bool:
    """Whether the gradient of a table is divided by how often each of its rows is read."""
    if step.name not in FREQUENCY:
        return False
    return bool(step.args[SCALED] if len(step.args) > SCALED else step.kwargs.get("scale_grad_by_freq", False))


def by_torch(tape: Tape) -> list[str]:
    """What is to be said about such operations on a tape."""
    said: list[str] = []
    for step in tape.steps:
        if by_frequency(step):
            said.append(f"scale_grad_by_freq divides each row's gradient by how often it is read: {step.place}")
        elif any(f in step.name for f in FAKE):
            said.append(f"{step.name} has a straight-through gradient: {step.place}")
    return [f"by design of torch, {text}" for text in dict.fromkeys(said)]


__all__ = ["FREQUENCY", "SCALED", "by_frequency", "by_torch"]
