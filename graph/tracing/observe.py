"""What a forward of the user's module does besides its outputs: numbers it draws, and what it changes in itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx import Node

from lawful.theory.oracle.double import double
from lawful.theory.oracle.lending.containers import Dict, Items
from lawful.theory.oracle.lending.holders import State, same
from lawful.theory.oracle.lending.lent import lent
from lawful.theory.oracle.lending.snapshot import Change
from lawful.theory.oracle.modules import as_double

from .counters import Counter, Watched, watched
from .exporting import on_meta
from .gaps import Run, gap_of
from .program import Program
from .purity import name_of
from .refusals import drawn_from, moving_state
from .running import ModuleRun, Tensors, dropout_off

MOST = 6  # changed attributes that a note names
UNSEEN = (
    "which may change the gradients, and they could not be compared (there are no numbers, or the backward does not "
    "run on the examples); remove the hook, or trace a copy whose backward runs"
)


@dataclass(frozen=True)
class Observed:
    """What a run changed.

    Attributes:
        refusal: why its laws would be those of another network; empty if nothing speaks against them.
        notes: changes without a consequence.
        limits: changes that may have one at a later call.
        moving: whether a later call is another function.
    """

    refusal: str = ""
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    moving: bool = False


def observe(module: ModuleRun, again: Callable[[], Run], first: Run, values: Tensors, blind: bool = False) -> Observed:
    """What a run of a module changed, and whether the next one is another function because of it.

    Args:
        module: the module, as its first run left it.
        again: a run of it as it stands, on the same inputs.
        first: what the first run gave.
        values: of the parameters.
        blind: whether outputs have no numbers, so that a change may matter though two runs seem to agree.
    """
    own = module.own
    if module.drawn:
        return Observed(limits=(drawn_from(module.drawn),), moving=True)
    if moved := own.moved():
        return Observed(
            f"a step changes its parameter {moved[0]} beside its gradient (a hook, an update in the "
            "forward), so its training is no gradient flow; derive before an optimizer is hooked into backward, "
            "and leave all other updates to the optimizer"
        )
    if buffers := read_buffers(module.program) & set(own.written()):
        new = buffers - module.program.changed
        return Observed(limits=(moving_state(f"its buffer {min(new)}"),) if new else (), moving=True)
    changes = _own_changes(module)
    if not changes:
        return Observed()
    if drawn := [c.path for c in changes if isinstance(c.after, State)]:
        return Observed(limits=(drawn_from(drawn[0]),), moving=True)
    after = {c.path: c.after for c in changes}
    names = _listed(list(after))
    own.put(values)
    try:
        agree, raised = gap_of(first, again()).same, ""
    except Exception as error:
        agree, raised = False, f" (its next call raises {type(error).__name__})"
    if not agree:
        still = {c.path for c in _own_changes(module) if c.before is None and c.after is after.get(c.path)}
        if all(isinstance(v, torch.Tensor) and path in still for path, v in after.items()):
            text = f"the forward keeps {names} for its next calls, which are other functions{raised}"
            return Observed(limits=(f"{text}: laws are those of a module that has kept nothing yet",))
        return Observed(limits=(moving_state(f"{names}{raised}"),), moving=True)
    moving = [c for c in _own_changes(module) if blind or c.path not in after or not same(c.after, after[c.path])]
    read, hidden = _read(module, moving, values, again, blind)
    if read:
        return Observed(limits=(moving_state(_listed(read)),), moving=True)
    kept = [c.path for c in changes if c.path not in hidden]
    return Observed(
        notes=(f"the forward changes {_listed(kept)}, on which its outputs do not depend",) if kept else (),
        limits=(f"the forward changes {_listed(hidden)} at every call: laws are those of calls like the example's",)
        if hidden
        else (),
    )


def watch(program: Program, module: torch.nn.Module) -> Observed:
    """The same for a module on the meta device, where a run shows what it changes, but no numbers.

    Args:
        program: what was traced.
        module: the user's module.
    """
    if hooked := backward_hooks(module):
        return Observed(hooked)
    with dropout_off(), on_meta(module), lent(module, as_double) as own, double():
        run = ModuleRun(program, own)
        values = {n: p.data for n, p in own.parameters.items()}
        inputs = [as_double(i.example.to("meta")) for i in program.inputs]
        own.start(values)
        try:
            outputs = run(inputs)
        except Exception:  # operations that the meta device does not know
            return Observed()
        found = observe(run, lambda: _shapes(run(inputs)), _shapes(outputs), values, blind=True)
    made = sorted({f.name() for f in _functions(outputs)})
    own_backward = f"the backward of {_listed(made)} is the module's own and was not compared with its forward"
    return replace(found, limits=(*found.limits, own_backward)) if made else found


def _shapes(outputs: Sequence[torch.Tensor]) -> Run:
    return Run({str(i): torch.zeros(z.shape, dtype=torch.float64) for i, z in enumerate(outputs)}, {})


def _functions(outputs: Sequence[torch.Tensor]) -> set[Any]:
    """Calls in the graph of some outputs whose backward is written in Python."""
    seen: set[Any] = set()
    todo: list[Any] = [z.grad_fn for z in outputs]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [following for following, _ in node.next_functions]
    return {n for n in seen if isinstance(n, torch.autograd.function.BackwardCFunction)}


def backward_hooks(module: torch.nn.Module) -> str:
    """Why a module whose gradients were not compared is refused: hooks that may change them; empty if it has none."""
    for name, p in module.named_parameters():
        if p._backward_hooks or p._post_accumulate_grad_hooks:
            return f"the parameter {name} has a hook on its gradient, {UNSEEN}"
    for name, part in module.named_modules():
        if part._backward_hooks or part._backward_pre_hooks:
            return f"{name or 'the module'} has a hook on its backward, {UNSEEN}"
    return ""


def _read(
    module: ModuleRun, changes: Sequence[Change], values: Tensors, again: Callable[[], Run], blind: bool
) -> tuple[list[str], list[str]]:
    """What of some moving things a run reads, beside counting or collecting, and what cannot be told of."""
    own = module.own
    own.start(values)
    stands: dict[str, Watched] = {}
    hidden = []
    for change in changes:
        whole = getattr(change.holder, "owner", None)
        if change.counted:
            stands[change.path] = counter = Counter(change.before)
            change.holder.write({**change.holder.read(), change.key: counter})
        elif (stand := watched(whole) if isinstance(change.holder, (Dict, Items)) else None) is not None:
            stands[change.path] = stand
            own.replace(whole, stand)
        elif blind or not isinstance(change.after, torch.Tensor):  # a tensor that is read would change the outputs
            hidden.append(change.path)
    try:
        again()
    except Exception:  # something that wants the thing itself
        return list(stands), hidden
    return [path for path, stand in stands.items() if stand.read], hidden


def _own_changes(module: ModuleRun) -> list[Change]:
    """What a run changed, without its buffers and the gradients of tensors that nothing registers."""
    buffers = {n for n, _ in module.own.module.named_buffers(remove_duplicate=False)}
    return [c for c in module.own.changes() if c.key != "grad" and c.path not in buffers]


def _listed(paths: Sequence[str]) -> str:
    own = list(dict.fromkeys(paths))
    return ", ".join(own[:MOST]) + (f" and {len(own) - MOST} more" if len(own) > MOST else "")


def read_buffers(program: Program) -> set[str]:
    """Buffers that the outputs depend on; statistics that batch normalisation only keeps are not read."""
    users: dict[Node, list[Node]] = {}
    for node in program.graph.nodes:
        for used in node.all_input_nodes:
            users.setdefault(used, []).append(node)
    return {
        n for node, (n, _) in program.buffers.items() if not all(_keeps(user, node) for user in users.get(node, []))
    }


def _keeps(call: Node, buffer: Node) -> bool:
    """Whether a call is a normalisation by the batch, which only writes its statistics."""
    at = {"batch_norm": 5, "instance_norm": 5}.get(name_of(call))
    return at is not None and len(call.args) > at and call.args[at] is True and buffer in call.args[3:5]


__all__ = ["Observed", "observe", "read_buffers"]
