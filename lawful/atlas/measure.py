"""Makes the record of one model: build, trace, derive, verify."""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .built import Built, NotBuilt, NotInstalled, said
from .models import build
from .record import Record

if TYPE_CHECKING:
    from lawful.graph.architecture.architecture import Architecture
    from lawful.graph.tracing import Trace
    from lawful.theory.derive.lawset import LawSet

VERIFIABLE = 30_000_000  # parameters of a model that is verified itself; a larger one takes the verdict of a sibling
SAMPLES = (2, 6)  # random points; more of them where a law was not tested
WIDER = 4  # how many times the batch of the example is read at each of them
SEED = 0


@dataclass(frozen=True)
class Task:
    """What to do with one model.

    Attributes:
        name: source and model.
        training: trace it in training mode.
        verifiable: parameters up to which it is verified.
    """

    name: str
    training: bool = False
    verifiable: float = VERIFIABLE


@dataclass
class Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Adds the time that the block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - start, 3)


def measure(task: Task) -> Record:
    """Everything the atlas says about one model.  Errors of the model's end in the record."""
    clock = Clock()
    record = Record(task.name, training=task.training)
    try:
        with clock.time("build"):
            built = build(task.name, full=_full(task), training=task.training)
        record = replace(record, family=built.family, parameters=built.scalars, published=built.published)
        record = _derived(record, built, task, clock)
    except NotBuilt as error:
        status = "not installed" if isinstance(error, NotInstalled) else "not built"
        record = replace(record, status=status, reason=str(error))
    except Exception as error:  # whatever a foreign model or tracing raises must not end the run
        record = replace(record, status="failed", reason=said(error))
    return replace(record, seconds=clock.seconds)


def _full(task: Task) -> bool:
    """Whether the published sizes are traced; transformers' types and our own list come as tiny instances."""
    return not task.name.startswith(("hf:", "ours:"))


def _derived(record: Record, built: Built, task: Task, clock: Clock) -> Record:
    built, arch = _traced(task, built, clock)
    record = _with_laws(record, arch, _laws(arch, built, clock))
    if not record.scalars or built.scalars > task.verifiable:
        return record
    small = None if _full(task) else (built, arch)
    try:
        return _verified(record, task, clock, small)
    except Exception as error:
        return replace(record, verdict="not verified", reason=f"verification: {said(error)}")


def _traced(task: Task, built: Built, clock: Clock) -> tuple[Built, Architecture]:
    """The architecture; a model of transformers that cannot be traced is tried with another attention."""
    from lawful.graph.tracing import TraceError

    try:
        return built, _trace(built, clock)
    except TraceError as first:
        if not task.name.startswith("hf:"):
            raise
        try:
            built = build(task.name, full=built.published, training=task.training, attention="eager")
            return built, _trace(built, clock)
        except (TraceError, NotBuilt):
            raise first from None


def _trace(built: Built, clock: Clock) -> Architecture:
    from lawful.graph.tracing import trace

    arch = trace(built.module, *built.args, **built.kwargs)
    for stage, seconds in _findings(arch).seconds.items():
        clock.seconds[stage] = round(clock.seconds.get(stage, 0.0) + seconds, 3)
    return arch


def _findings(arch: Architecture) -> Trace:
    assert arch.trace is not None  # it was traced just now
    return arch.trace


def _laws(arch: Architecture, built: Built, clock: Clock) -> LawSet:
    from lawful.graph.questions.derive import derive

    with clock.time("derive"):
        return derive(arch, built.loss)


def _with_laws(record: Record, arch: Architecture, laws: LawSet) -> Record:
    kinds: Counter[str] = Counter()
    for law in laws:
        kinds[law.kind] += law.count
    found, narrow = _findings(arch).opaque, _findings(arch).narrow
    record = replace(
        record,
        status="opaque" if found else "narrow" if narrow else "laws",
        nodes=len(arch.nodes),
        families=len(laws),
        scalars=laws.count,
        independent=laws.independent,
        exact=sum(law.count for law in laws if law.exact),
        kinds=dict(sorted(kinds.items())),
        narrow=dict(Counter(op.op for op in narrow).most_common()),
        opaque=dict(Counter(op.op for op in found).most_common()),
        shadowed=sum(op.shadowed for op in found),
    )
    return _compared(record, arch)


def _compared(record: Record, arch: Architecture) -> Record:
    found = _findings(arch).comparison
    if found is None:
        return record
    return replace(record, output_error=_finite(found.outputs), gradient_error=_finite(found.gradients))


def _verified(record: Record, task: Task, clock: Clock, small: tuple[Built, Architecture] | None) -> Record:
    """Traces a small instance, compares it, and checks all of its laws by loss gradients of the module."""
    from lawful.graph.questions.check import verify
    from lawful.graph.questions.elsewhere import elsewhere
    from lawful.theory.verdict import Verdict

    if small is None:
        with clock.time("build"):
            built = build(task.name, full=False, training=task.training)
        built, arch = _traced(task, built, clock)
        record = _compared(record, arch)
    else:
        built, arch = small
    args, kwargs = built.args, built.kwargs
    laws = elsewhere(_laws(arch, built, clock), arch, built.module, built.loss, (tuple(args), dict(kwargs)))
    if _runs(built.module, *(wider := (tuple(map(_wider, args)), {k: _wider(v) for k, v in kwargs.items()}))):
        args, kwargs = wider
    with clock.time("verify"):
        for samples in SAMPLES:
            report = verify(built.module, laws, args=args, kwargs=kwargs, axis=built.axis, samples=samples, seed=SEED)
            if report.verdict not in (Verdict.VACUOUS, Verdict.UNDECIDED):
                break
    return replace(record, verdict=str(report.verdict), residual=_finite(report.residual), verified_on=built.how)


def _runs(module: Any, args: Any, kwargs: Any) -> bool:
    """Whether a module takes these inputs: edges of a graph and whatever else is no batch cannot be repeated."""
    import torch

    try:
        with torch.no_grad():
            copy.deepcopy(module)(*args, **kwargs)
    except Exception:
        return False
    return True


def _wider(value: Any) -> Any:
    """An example for more of a batch: a unit that is dead in all of it leaves its laws untested."""
    import torch

    return value.repeat(WIDER, *(1,) * (value.ndim - 1)) if isinstance(value, torch.Tensor) and value.ndim else value


def _finite(x: Any) -> float | None:
    """A number that JSON has."""
    return float(x) if math.isfinite(x) else None
