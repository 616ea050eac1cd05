"""Watching: what happens around every step of an optimizer, booked law by law.

This file is long because all hooks of a step share one state: what is seen before it is booked after it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lawful.blocks import ShapeError
from lawful.graph.questions.derive import architecture_of, derive
from lawful.theory.arguments import shown
from lawful.theory.derive.lawset import LawSet
from lawful.theory.inputs import inputs_of
from lawful.theory.laws.law import Law
from lawful.theory.losses import Loss, LossLike, expect_loss
from lawful.theory.own_runs import is_own_run
from lawful.theory.parts import base
from lawful.theory.typed import named_arguments, typed_methods

from .account import Account, Precision
from .forms import Forms
from .given import (
    STATE_VERSION,
    expect_accounts,
    expect_fit,
    expect_laws,
    expect_of,
    expect_options,
    expect_state,
    expect_trained,
    why_none,
    why_refused,
)
from .gradient_notes import GradientNotes
from .gradients import GradientWatch, Seen
from .hooks import Hook
from .modes import Modes
from .names import watched
from .norms import NormWatch
from .outputs import Outputs
from .pace import Pace
from .precision import precision
from .rounds import Nested, Rounds
from .sharded import Shards, is_sharded, local
from .sheets import THETA, Sheets, wanted
from .step import OUTSIDE, UNWATCHED, Material, outcome
from .unwrap import Optimizers, inside, processes, unwrapped
from .updates import Move, move_of
from .weights import Weights

NOISE = 0.5  # gradients below this part of the tolerated rounding are nothing but rounding


@named_arguments
@typed_methods(skip=("state", "law", "path"), leave=("__init__",))
class Watcher:
    """Hooks into the steps of optimizers and keeps the account of every law; arguments as for `Ledger`."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizers,
        laws: Sequence[Law] | None = None,
        *,
        loss: LossLike = "mse",
        args: torch.Tensor | Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        every: int | None = None,
        sample: int | None = None,
        seed: int = 0,
        like: type[torch.optim.Optimizer] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ValueError(f"Ledger: the model is {shown(model)}; it must be the torch module that is trained")
        expect_options(every, sample, seed, like)
        self.like = like
        if laws is not None:
            expect_laws(laws)
        expect_loss(loss)
        given, named = inputs_of("Ledger", args, kwargs)
        self.model, self.loss = model, loss
        self._pace = Pace(every)
        self.optimizers = unwrapped(optimizer)
        self.steps = 0
        self.accounts: dict[str, Account] = {}
        self.laws: tuple[Law, ...] = ()
        self.derived: LawSet | None = None  # what the laws were chosen from, with its notes
        self.lawless: str | None = None  # why there is no law to watch
        self._sample, self._seed = sample, seed
        self._parameters: dict[str, nn.Parameter] = {}
        self._rounds = Rounds(len(self.optimizers))
        self._steps = Nested()
        self._apart: set[str] = set()  # parameters that only optimizers of other rounds move
        self._before: dict[str, Tensor] = {}
        self._moves: dict[str, Move] = {}
        self._grads: dict[str, Tensor] = {}
        self._seen = Seen()
        self._floor = 0.0
        self._still: set[str] = set()
        self._void = False
        self.within: int | None = None  # the first step that was made while backward ran
        self._wanted: dict[str, tuple[bool, bool]] = {}
        self._own: Sheets | None = None  # of the weights as they are
        self._aimed: dict[str, nn.Parameter] = {}  # what is watched in the next step
        self._turn: dict[str, Account] = {}  # the accounts of its laws
        self._line: list[str] = []
        self._shared = False
        self._shards: Shards | None = None
        self._noise: set[str] = set()
        self.unaccounted: list[int] = []
        self.not_finite: tuple[str, ...] = ()
        self.precision = Precision(0.0, 0.0)
        self._epsilon: dict[str, Tensor | None] = {}
        self.unmeasured: dict[str, tuple[str, ...]] = {}
        self._resumed: dict[str, Any] | None = None
        self._deriving = False
        self._gradients: GradientWatch | None = None
        self._met = False
        self.notes = GradientNotes()
        self.weights = Weights(model, self._is_held)
        self._norms = NormWatch(model, self._pace.spending)
        self.modes = Modes()
        self._outputs = Outputs()
        self._handles: list[Any] = [model.register_forward_pre_hook(Hook(model, self._forward), with_kwargs=True)]
        self._handles.append(model.register_forward_hook(Hook(model, self._outputs)))
        for i, one in enumerate(self.optimizers):
            self._handles.append(one.register_step_pre_hook(functools.partial(self._about_to_step, i)))
            self._handles.append(one.register_step_post_hook(functools.partial(self._has_stepped, i)))
        try:
            if laws is not None:
                self._watch(laws)
            elif given or named:
                self._watch(self._real(self._derived(given, named)))
            elif hasattr(inside(model), "arch"):
                self._begin(self._derived(given, named))
            expect_of(model, self.optimizers)
            if self.laws:
                self._meet()
        except BaseException:
            self.close()  # who is refused or interrupted leaves no hooks behind
            raise

    def _meet(self) -> None:
        """Makes sure, once, that the optimizers move what is watched."""
        if not self._met:
            expect_trained(self._parameters, self.optimizers)
            self._met = True

    def _watch(self, laws: Sequence[Law]) -> None:
        """Starts the accounts."""
        chosen = list(laws)
        self.derived = laws if isinstance(laws, LawSet) else self.derived
        if not chosen:
            raise ValueError(f"there is no law to watch: {why_none(laws)}")
        if self._sample is not None and self._sample < len(chosen):
            order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(self._seed))
            chosen = [chosen[int(i)] for i in sorted(order[: self._sample])]
        self.laws = tuple(chosen)
        self._parameters = watched(self.model, chosen)
        expect_fit(chosen, self._parameters)
        self.lawless = None
        self._shards = Shards(self._parameters) if is_sharded(self._parameters) else None
        plain = self._plain(self._parameters)
        forms = {law.name: Forms(law, plain, self._shards) for law in chosen}
        self._wanted = wanted(one for form in forms.values() for one in form.readings)
        sheets = self._own = self._sheets(plain)
        for name, form in forms.items():
            value = form.value(plain, sheets)
            self.accounts[name] = Account(form, {n: n for n in form.names}, value, value, form.scale(plain))
        place = {id(p): i for i, p in enumerate(self.model.parameters())}
        first = {n: min(place.get(id(self._parameters[m]), 0) for m in form.names) for n, form in forms.items()}
        self._line = sorted(self.accounts, key=lambda n: first[n])  # laws that share a parameter take turns together
        self._attach([forms[n].effort(plain) for n in self._line])

    def _begin(self, laws: LawSet) -> None:
        """Watches derived laws, or what needs none where there are none: the training goes on."""
        if len(laws):
            self._watch(self._real(laws))
        else:
            self._watch_without(why_none(laws))

    def _watch_without(self, why: str) -> None:
        """Watches what needs no law, of all parameters."""
        if self._gradients is not None:
            self._gradients.close()
        self.lawless, self.laws, self.accounts = why, (), {}
        self._parameters = {n: p for n, p in self.model.named_parameters() if not nn.parameter.is_lazy(p)}
        if not self._parameters:
            return
        self._attach([1.0])
        if self._resumed is not None:
            state, self._resumed = self._resumed, None
            self._resume(state)

    def _resume(self, state: Mapping[str, Any]) -> None:
        """Counts on from the steps of an earlier run."""
        self.steps = state["steps"]
        self._pace.resume(self.steps)
        self.notes.resume(self._parameters, self.steps, state["edited"])
        self._aim()

    def _attach(self, efforts: Sequence[float]) -> None:
        """Watches the gradients of the parameters.

        Args:
            efforts: what the laws cost, in the order in which they take turns.
        """
        self._shared = processes() > 1
        self._shards = Shards(self._parameters) if is_sharded(self._parameters) else None
        one = local(next(iter(self._parameters.values())))
        self._pace.fit(efforts, sum(p.numel() for p in self._parameters.values()), one.device, self._shared)
        small = self._pace.small
        self._gradients = GradientWatch(
            self._parameters, self._pace.spending, self._shared, self._shards, self._is_held, small
        )
        self._gradients.beginning = self._backward_begins
        self._gradients.running = self._rounds.ran
        self._norms.watch([law for law in self.laws if not law.exact], self._gradients)
        self.weights.watch(self._parameters)
        self._aim()

    def _aim(self) -> None:
        """Says what is watched in the next step."""
        due = self._pace.due(self.steps + 1)
        turn = [self._line[i] for i in self._pace.turn] if due and self.accounts else []
        self._turn = {n: self.accounts[n] for n in turn}
        some = {n for account in self._turn.values() for n in account.form.names}
        self._aimed = {n: p for n, p in self._parameters.items() if n in some or (due and not self.accounts)}
        assert self._gradients is not None
        self._gradients.aim(self._aimed)
        self._norms.aim([account.form.law for account in self._turn.values()])
        if due:
            self.weights.note(self._aimed)

    def _forward(self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        if is_own_run():  # a question of lawful tells nothing about training
            return
        self._norms.autocast()
        if module.training and torch.is_grad_enabled():
            self.modes.passes(module)
        if self._gradients is not None or self._deriving or not module.training or not torch.is_grad_enabled():
            return
        if any(map(nn.parameter.is_lazy, module.parameters())):
            self.lawless = "the first forward pass makes the parameters, and laws are derived at the second"
            return
        self._deriving = True
        try:
            with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
                laws = self._derived(tuple(args), kwargs)
            self._begin(laws)
        except Exception as error:  # whatever a derivation stumbles over, the training goes on
            self._watch_without(why_refused(error))
        finally:
            self._deriving = False
        if self._resumed is not None and self.laws:
            self.load_state_dict(self._resumed)

    def _derived(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> LawSet:
        """The laws of the model."""
        if is_sharded(dict(inside(self.model).named_parameters())):
            raise ValueError(
                "the weights are sharded (DTensor), and laws are derived from a whole model; derive them before "
                "fully_shard or parallelize_module, and pass laws= to the ledger"
            )
        model = inside(self.model)
        try:
            return derive(model, self.loss, args=args, kwargs=kwargs)
        except ShapeError:
            arch = architecture_of(model, args, kwargs)
            if not isinstance(self.loss, (str, Loss)) or all(o.features > 1 for o in arch.outputs):
                raise
            # a number beside other outputs is the loss that the model computed itself (nanoGPT, transformers)
            losses = ["mse" if o.features == 1 else self.loss for o in arch.outputs]
            return derive(model, losses, args=args, kwargs=kwargs)

    def _real(self, laws: LawSet) -> Sequence[Law]:
        """Derived laws without those of complex parameters, whose steps are not followed; all if none is left.

        What was derived is kept, with its notes.
        """
        self.derived = laws
        held = watched(self.model, laws) if len(laws) else {}
        some = [law for law in laws if not any(held[base(n)].is_complex() for n in law.parameters)]
        return some or laws

    def _backward_begins(self, carried: bool | None) -> None:
        assert self._gradients is not None
        some: set[int] = set()
        if carried is not False:
            some = {i for i in range(len(self.optimizers)) if self._gradients.carried(self._holds({i})) is not False}
        self.notes.begins(some, self._gradients.left)
        self._norms.begins(None if carried and self._rounds.number > 1 else carried)  # whose gradients are carried?

    # one step of the optimizers

    def _about_to_step(self, index: int, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        if not self._steps.enters(index, sys._getframe(1)):
            return None
        closure = (args[1] if len(args) > 1 else None) or kwargs.get("closure")
        if closure is None:
            self._enter(index)
            return None
        pending = True

        def then(*a: Any, **k: Any) -> Any:
            nonlocal pending
            out = closure(*a, **k)
            if pending:
                pending = False
                self._enter(index)
            return out

        return ((args[0], then, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": then})

    def _enter(self, index: int) -> None:
        """An optimizer is about to step: in the round that is open, or in one of its own."""
        if self._rounds.joins(index):
            return
        self._pace.settle()
        if self._rounds.waiting:  # backward has run again, and the others had no part in the round
            for account in self._turn.values():
                account.pending = None
            self._before, self._moves, self._grads = {}, {}, {}
            self._rounds.break_off()
            self._over()
        with self._pace.spending():
            self._open(index)

    @torch.no_grad()
    def _open(self, index: int) -> None:
        """Right before the step: what will it do?"""
        if self._gradients is None:
            if self.lawless is None:
                self.lawless = "the model has not run forward in training mode; call model.train(), or pass laws="
            return
        if self.accounts:
            self._meet()
        self._rounds.open(index)
        self._pace.rounds = self._rounds.number
        self.steps += 1
        changed, self._rounds.changed = self._rounds.changed, False
        moves = self._holds(self._rounds.movers)
        some = self._parameters if len(self._rounds.movers) < len(self.optimizers) else {}
        held = self._holds(range(len(self.optimizers)))
        self._apart = {n for n, p in some.items() if held(p) and not moves(p)}
        if not self._pace.due(self.steps):
            for n in self.notes.doubtful:
                grad = self._parameters[n].grad
                if n not in self._apart and grad is not None and bool(local(grad).any()):
                    self.notes.met(n, self.steps)
            return
        if torch._C._current_graph_task_id() >= 0:
            self.within = self.within or self.steps
            return
        if self.modes.steps(self.steps) or changed:
            self._gradients.forget()
            return
        grads, groups = self._gradients_now(self._aimed)
        self._void = self._is_void()
        if self._void:
            self._gradients.forget()
            return
        self._seen = self._gradients.seen(grads)
        self._seen.dropped = tuple(n for n in self._seen.dropped if n not in self._apart)
        looked = [n for n in self._aimed if n not in self._apart]
        self.notes.note(self._seen, looked, self.steps, self._rounds.movers)
        self._still = {n for n, p in self._aimed.items() if not p.requires_grad or n in self._apart}
        self._still |= set(self._seen.dropped)
        owned = {id(p) for o in self.optimizers for group in o.param_groups for p in group["params"]}
        mine = {id(p): n for n, p in self._parameters.items()}
        every = ((mine.get(id(p), n), p) for n, p in self.model.named_parameters())
        self.notes.look(every, owned, self.steps)
        self.weights.before(self.steps)
        plain, changed = self._plain(self._aimed), self.weights.changed(self.steps, self._shards is not None)
        late = {n: account.booked < self.steps - 1 for n, account in self._turn.items()}
        if changed or any(late.values()):
            sheets = self._own = self._sheets(plain)
            for n, account in self._turn.items():
                if changed or late[n]:
                    account.moved(account.form.value(plain, sheets), UNWATCHED if late[n] else OUTSIDE, self.steps)
        if self._shared:
            self.notes.compare(grads, self._aimed, self._shards, self.steps)
        if self._seen.unknown:
            self.unaccounted.append(self.steps)
            return
        self._of_norms()
        if len(self._aimed) == len(self._parameters):
            self.notes.clip(grads, self._seen.multiple)
        read = dict.fromkeys(n for n in [*self._aimed, *self.notes.leading] if n not in self._apart)
        others = self._gradients_now([n for n in read if n not in self._aimed])[0]
        largest = self.notes.largest(read, {**grads, **others}, self._shards, self.steps)
        self._floor = max(largest.values(), default=0.0)
        inner, norms, outputs = self._norms.compute, self._norms.conditioning.largest, self._outputs.magnified
        self.precision = precision(self._parameters.values(), inner, self.optimizers, norms, outputs)
        if not self._turn:
            return
        self._noise = {n for n in grads if largest[n] <= NOISE * self.precision.gradient * self._floor}
        steps = {n: move_of(*groups[n], self._parameters[n], g, self.like) for n, g in grads.items()}
        if any(m.measured for m in steps.values()):
            self._before = {n: p.clone() for n, p in plain.items()}
            self._moves = steps
            self._grads = {n: g.clone() for n, g in grads.items()}  # a closure or a rule of its own may change them
            return
        self._fit(steps, plain, grads)
        self._account_for(plain, grads, steps)

    def _account_for(self, theta: Mapping[str, Tensor], grads: Mapping[str, Tensor], moves: Mapping[str, Move]) -> None:
        """What a step must do to every law."""
        altered, displaced = self._seen.altered, self._seen.displaced
        made = Material(theta, grads, moves, altered, displaced, self._noise, self._still, self._wanted, self._own)
        for name, account in self._turn.items():
            if self._apart.issuperset(account.form.names):
                continue
            exact = account.form.law.exact
            account.pending = outcome(
                account.form, made, account.last, account.slope, account.carried, None if exact else self._epsilon[name]
            )

    def _of_norms(self) -> None:
        """What the epsilon of norms makes of the gradients of this step."""
        laws = [account.form.law for account in self._turn.values() if not account.form.law.exact]
        self._norms.share(self._mean if self._shared else None)
        self._epsilon = {law.name: self._norms.slopes(law, self._seen.multiple) for law in laws}
        for law in laws:
            if self._epsilon[law.name] is None:
                self.unmeasured.setdefault(law.name, self._norms.unmeasured(law))

    def _mean(self, x: Tensor) -> Tensor:
        """The mean over the processes."""
        torch.distributed.all_reduce(x)
        return x / processes()

    def _is_void(self) -> bool:
        """Whether a scaler tells a fused step to do nothing, since gradients are not finite."""
        said = (getattr(o, "found_inf", None) for o in self.optimizers)
        return any(isinstance(x, Tensor) and bool(x) for x in said)

    def _is_held(self, parameter: Tensor) -> bool:
        """Whether some optimizer moves a parameter."""
        return any(p is parameter for o in self.optimizers for group in o.param_groups for p in group["params"])

    def _holds(self, indices: Iterable[int]) -> Callable[[Tensor], bool]:
        """Whether one of some optimizers moves a parameter."""
        held = {id(p) for i in indices for group in self.optimizers[i].param_groups for p in group["params"]}
        return lambda parameter: id(parameter) in held

    @torch.no_grad()
    def _has_stepped(self, index: int, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Right after the step: what did it do?"""
        if not self._steps.leaves(index):
            return
        self._rounds.stepped(index)
        if not self._rounds.waiting and self._gradients is not None:
            self._over()

    @torch.no_grad()
    def _over(self) -> None:
        """All optimizers of the round have stepped."""
        if self._pace.due(self.steps):
            with self._pace.spending():
                self._book()
        self.notes.stepped(self._rounds.movers)
        self._outputs.stepped()
        self._pace.stepped(self.steps)
        with self._pace.spending():
            self._aim()

    def _book(self) -> None:
        """Puts the step into the accounts."""
        if self._before:
            self._measure()
        self.weights.after(self.steps)
        exact, plain = self.precision, self._plain(self._aimed)
        sheets = self._own = self._sheets(plain)
        for account in self._turn.values():
            value = account.form.value(plain, sheets)
            alone = self._apart.issuperset(account.form.names)
            if (self._void or alone) and torch.equal(value, account.last):
                account.booked = self.steps
            elif account.pending is None:
                account.moved(value, UNWATCHED, self.steps)
            else:
                account.close(value, self.steps, exact, self._floor)
        if not self.not_finite and (self.lawless or any(a.broken is not None for a in self.accounts.values())):
            plain = self._plain(self._parameters)
            bad = {n: float(not bool(torch.isfinite(p).all())) for n, p in plain.items()}
            if self._shards is not None:
                bad = dict(zip(bad, self._shards.most(list(bad.values())), strict=True))
            self.not_finite = tuple(n for n, x in bad.items() if x)
        self._before, self._moves, self._grads = {}, {}, {}

    def _measure(self) -> None:
        """The account of an optimizer whose equations are not known: its step is what it did."""
        grads, after = self._grads, self._plain(self._aimed)
        for n, move in self._moves.items():
            before = self._before[n]
            if not move.measured:
                move.extra = {}
            move.whole = before - after[n] - move.decay * before
            self._uphill(n, move.whole, grads[n])
            if move.buffer is not None and move.keep:  # the buffer has moved already
                move.buffer = (move.buffer - move.take * grads[n] - move.load * before) / move.keep
        self._fit(self._moves, self._before, grads)
        self._account_for(self._before, grads, self._moves)

    def _uphill(self, name: str, step: Tensor, grad: Tensor) -> None:
        """Notes whether a parameter goes along its gradient (of what this process has of both)."""
        sizes = float(torch.linalg.vector_norm(step)) * float(torch.linalg.vector_norm(grad))
        if sizes:
            self.notes.moved(name, -float((step * grad).sum()) / sizes)

    def _fit(self, moves: Mapping[str, Move], theta: Mapping[str, Tensor], grads: Mapping[str, Tensor]) -> None:
        """Sets the rates of all moves that are not linear."""
        found: dict[str, tuple[float, ...]] = {n: m.products(theta[n], grads[n]) for n, m in moves.items()}
        if self._shards is not None:
            found = dict(zip(found, self._shards.sums(list(found), list(found.values())), strict=True))
        for n, move in moves.items():
            move.fit(found[n][0], found[n][1])

    def _gradients_now(
        self, names: Iterable[str]
    ) -> tuple[dict[str, Tensor], dict[str, tuple[torch.optim.Optimizer, Mapping[str, Any]]]]:
        """The gradients that the optimizers see, and the group of each parameter."""
        movers = [self.optimizers[i] for i in sorted(self._rounds.movers)]
        home = {id(p): (o, group) for o in movers for group in o.param_groups for p in group["params"]}
        grads: dict[str, Tensor] = {}
        groups: dict[str, tuple[torch.optim.Optimizer, Mapping[str, Any]]] = {}
        for n, p in ((n, self._parameters[n]) for n in names):
            if id(p) in home and p.grad is not None:
                g = local(p.grad, p)
                scale = getattr(home[id(p)][0], "grad_scale", None)
                g = g.to_dense() if g.is_sparse else g
                grads[n], groups[n] = g if scale is None else g / scale.to(g.dtype), home[id(p)]
        return grads, groups

    def _plain(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        return {n: local(p) for n, p in parameters.items()}

    def _sheets(self, plain: Mapping[str, Tensor]) -> Sheets:
        """The products of the weights with themselves."""
        return Sheets({n: {THETA: x} for n, x in plain.items()}, self._wanted)

    def before_clipping(self) -> None:
        """Says that the gradients are whole now, and clipped next: needed only where several processes train."""
        if self._gradients is not None:
            self._gradients.keep()

    @property
    def every(self) -> int:
        """Every how manyth step is watched, now."""
        return self._pace.every

    @property
    def every_measured(self) -> bool:
        """Whether that follows from what watching costs."""
        return self._pace.measured

    @property
    def last_watched(self) -> int:
        """The last step that was watched, 0 before there was one."""
        return self._pace.last

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The parameters that the laws read, by the names in the laws."""
        return self._parameters

    @property
    def unread(self) -> tuple[str, ...]:
        """Trainable parameters of the model that no watched law reads."""
        read = {id(p) for p in self._parameters.values()} if self.accounts else set()
        return tuple(n for n, p in self.model.named_parameters() if p.requires_grad and id(p) not in read)

    def state_dict(self) -> dict[str, Any]:
        """The whole account, to be saved beside the model and the optimizer."""
        accounts = {name: account.state() for name, account in self.accounts.items()}
        state = {"version": STATE_VERSION, "steps": self.steps, "last": self.last_watched}
        return {**state, "edited": dict(self.notes.edited), "accounts": accounts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with the account of an earlier run, after model and optimizer are loaded.

        Raises:
            ValueError: if it is no account, or that of other laws.
        """
        expect_state(state)
        if self._gradients is None:
            self._resumed = dict(state)
            return
        self._resumed = None
        expect_accounts(state, self.accounts)
        self._resume(state)
        plain = self._plain(self._parameters)
        sheets = self._own = self._sheets(plain)
        for name, one in state["accounts"].items():
            account = self.accounts[name]
            now = account.form.value(plain, sheets)  # the model may have been loaded after this account was opened
            account.load(dict(one))
            late = account.booked < self.steps
            near = 1e-6 * float(account.scale.max())
            if late or not torch.allclose(account.last, now, rtol=0, atol=near, equal_nan=True):
                account.moved(now, UNWATCHED if late else OUTSIDE, self.steps)
        self.weights.note(self._aimed)

    def close(self) -> None:
        """Takes all hooks away; what was recorded stays."""
        for handle in self._handles:
            handle.remove()
        self._norms.close()
        if self._gradients is not None:
            self._gradients.close()
