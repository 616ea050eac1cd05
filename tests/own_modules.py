"""Modules that do more than their layers say, each by a trick, and a fingerprint of all that a check may touch.

This file is long because every trick is a module of its own.
"""

import copy
import functools
import random
import threading
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


class Mlp(nn.Module):
    """The twin without a trick: four laws of `up`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return plain(self, x)


def plain(module, x):
    return module.down(torch.relu(module.up(x)))


def other(module, x):
    return module.down(module.up(x))


def made(body: Callable = plain, start: Callable = lambda module: None) -> nn.Module:
    """A module with a forward of its own, and what `start` puts into it."""

    class Made(Mlp):
        def __init__(self):
            super().__init__()
            start(self)

        def forward(self, x):
            return body(self, x)

    return Made()


def changed(change: Callable) -> nn.Module:
    """A plain module that was changed from outside."""
    module = Mlp()
    change(module)
    return module


def everything(module: nn.Module, more: object = ()) -> list:
    """A fingerprint of all that a check could leave behind."""
    tensors = [*module.parameters(), *module.buffers()]
    parts = [*module.modules()]
    return [
        [(id(t), t.dtype, t.data_ptr(), t.stride(), t._version, bits(t)) for t in tensors],
        [(id(t.grad), bits(t.grad), t.requires_grad) for t in module.parameters()],
        [(contents(t._backward_hooks), contents(t._post_accumulate_grad_hooks)) for t in tensors],
        [(id(m), {k: contents(v) for k, v in vars(m).items()}, list(vars(m))) for m in parts],
        [torch.get_rng_state().tolist(), random.getstate(), contents(np.random.get_state())],
        [torch.get_default_dtype(), torch.is_grad_enabled(), contents(more)],
    ]


def bits(tensor: torch.Tensor | None) -> object:
    """The bits of a tensor; None for none, the shape on the meta device."""
    if tensor is None or tensor.device.type == "meta":
        return None if tensor is None else tuple(tensor.shape)
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist()


def contents(value: object) -> object:
    """A value as plain data that can be compared later."""
    if isinstance(value, torch.Tensor):
        return id(value), bits(value)
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return [(k, contents(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [contents(v) for v in value]
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    return value if isinstance(value, (int, float, str, bool, type(None))) else id(value)


def closure_over_weights(module):
    w, b, v, c = module.up.weight, module.up.bias, module.down.weight, module.down.bias
    module.run = lambda x: F.linear(torch.relu(F.linear(x, w, b)), v, c)


def patched(module):
    module.forward = lambda x: plain(module, x)


def patched_inside(module):
    old = module.up.forward
    module.up.forward = lambda x: old(x)


REACHED_FROM_OUTSIDE = Mlp()


def reached(module, x):
    return REACHED_FROM_OUTSIDE.down(torch.relu(REACHED_FROM_OUTSIDE.up(x)))


def reach(module):
    module.up, module.down = REACHED_FROM_OUTSIDE.up, REACHED_FROM_OUTSIDE.down


def weight_norm(module):
    torch.nn.utils.parametrizations.weight_norm(module.up)


# The same network in another dress: the four laws of `up`.
SAME = {
    "plain": Mlp,
    "closure over the module": lambda: made(lambda m, x: m.run(x), lambda m: setattr(m, "run", lambda x: plain(m, x))),
    "closure over weights": lambda: made(lambda m, x: m.run(x), closure_over_weights),
    "patched forward": lambda: changed(patched),
    "patched forward of a layer": lambda: changed(patched_inside),
    "partial": lambda: changed(lambda m: setattr(m, "forward", functools.partial(plain, m))),
    "bound methods in a list": lambda: made(
        lambda m, x: m.steps[1](torch.relu(m.steps[0](x))),
        lambda m: setattr(m, "steps", [m.up.forward, m.down.forward]),
    ),
    "global": lambda: made(reached, reach),
    "compiled": lambda: changed(lambda m: m.compile()),
    "compiled layer": lambda: changed(lambda m: m.up.compile()),
    "checkpoint": lambda: made(lambda m, x: m.down(checkpoint(lambda h: torch.relu(m.up(h)), x, use_reentrant=False))),
    "forward hook": lambda: changed(lambda m: m.up.register_forward_hook(lambda part, args, out: out * 2)),
    "pre-hook": lambda: changed(lambda m: m.up.register_forward_pre_hook(lambda part, args: (args[0] * 2,))),
    "hook that only looks": lambda: changed(lambda m: m.down.register_full_backward_hook(lambda part, i, o: None)),
    "activations kept in a dict": lambda: changed(
        lambda m: m.up.register_forward_hook(lambda part, args, out: vars(m).setdefault("seen", {}).update(up=out))
    ),
    "lock": lambda: changed(lambda m: setattr(m, "lock", threading.Lock())),
    "result of a call": lambda: changed(lambda m: setattr(m, "last", m(X))),
    "one flat memory": lambda: changed(flat),
    "unread counter": lambda: made(counted(lambda m: True), lambda m: setattr(m, "calls", 0)),
    "unread buffer": lambda: made(buffered(lambda m: 1), lambda m: m.register_buffer("calls", torch.zeros(()))),
    "cached number": lambda: made(cached, lambda m: setattr(m, "cache", None)),
    "seeds by itself": lambda: made(lambda m, x: (torch.manual_seed(3), plain(m, x))[1]),
}


def flat(module):
    memory = torch.randn(20)
    module.up.weight.data = memory[:12].view(4, 3)
    module.down.weight.data = memory[12:].view(2, 4)


def counted(choose: Callable) -> Callable:
    def body(module, x):
        module.calls += 1
        return plain(module, x) if choose(module) else other(module, x)

    return body


def buffered(factor: Callable) -> Callable:
    def body(module, x):
        module.calls += 1
        return plain(module, x) * factor(module)

    return body


def cached(module, x):
    if module.cache is None:
        module.cache = 2.0
    return plain(module, x) * module.cache


CALLS = 0


def counts_globally(module, x):
    global CALLS
    CALLS += 1
    return plain(module, x) if CALLS > 100 else other(module, x)


def counts_in_a_list(module, x):
    module.seen.append(1)
    return plain(module, x) if len(module.seen) > 100 else other(module, x)


def counts_in_a_dict(module, x):
    module.seen["calls"] = module.seen.get("calls", 0) + 1
    return plain(module, x) if module.seen["calls"] > 100 else other(module, x)


def counts_in_a_closure():
    calls = 0

    def body(module, x):
        nonlocal calls
        calls += 1
        return plain(module, x) if calls > 100 else other(module, x)

    return made(body)


def counts_on_the_class():
    class Counting(Mlp):
        calls = 0

        def forward(self, x):
            Counting.calls += 1
            return plain(self, x) if Counting.calls > 100 else other(self, x)

    return Counting()


def rebound(module, x):
    module.calls = module.calls + 1
    return plain(module, x) * (module.calls > 100).float() + other(module, x)


def decays(module, x):
    module.scale *= 0.99
    return plain(module, x) * module.scale


def first_call(module, x):
    if module.first:
        module.first = False
        return other(module, x)
    return plain(module, x)


def remembers(module, x):
    h = module.up(x)
    if module.last is not None:
        h = h + module.last.detach()
    module.last = h
    return module.down(torch.relu(h))


def clips(module, x):
    with torch.no_grad():
        module.up.weight.clamp_(-0.1, 0.1)
    return plain(module, x)


def running_mean(module, x):
    h = module.up(x)
    with torch.no_grad():
        module.mean.mul_(0.9).add_(h.mean(0), alpha=0.1)
    return module.down(torch.relu(h - module.mean))


def teaches(module, x):
    with torch.no_grad():
        module.teacher.weight.mul_(0.9).add_(module.up.weight, alpha=0.1)
    return plain(module, x) + module.down(module.teacher(x))


def steps_in_backward(module):
    def step(p):
        with torch.no_grad():
            p.sub_(0.1 * p.grad)
        p.grad = None

    for p in module.parameters():
        p.register_post_accumulate_grad_hook(step)


def hooks_the_accumulator(module):
    node = torch.autograd.graph.get_gradient_edge(module.up.weight).node
    node.register_prehook(lambda grads: (grads[0] * 2,))
    module.node = node


class Straight(torch.autograd.Function):
    """A backward that is not the derivative of its forward."""

    @staticmethod
    def forward(ctx, x):
        return x.relu()

    @staticmethod
    def backward(ctx, g):
        return g


def clamps_gradients(module, x):
    h = module.up(x)
    if h.requires_grad:
        h.register_hook(lambda g: g.clamp(-0.01, 0.01))
    return module.down(torch.relu(h))


def view_in_a_closure(module):
    view = module.up.weight.detach()
    module.run = lambda x: module.down(torch.relu(F.linear(x, view) + module.up.bias))


def view_in_an_attribute(module):
    module.view = module.up.weight.detach().t()
    module.forward = lambda x: plain(module, x) + (x @ module.view)[:, :2]


def view_in_a_buffer(module):
    module.register_buffer("view", module.up.weight.data.t())
    module.forward = lambda x: plain(module, x) + (x @ module.view)[:, :2]


def rows_twice(module):
    module.rows = nn.Parameter(module.up.weight.data[:2])
    module.forward = lambda x: plain(module, x) + F.linear(x, module.rows)


def transposed():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
    module[2].weight = nn.Parameter(module[0].weight.t())
    return module


def draws(rng: Callable) -> Callable:
    return lambda m, x: plain(m, x) if rng(m) < 0.9 else other(m, x)


def hooked(hook: Callable) -> Callable:
    return lambda: changed(hook)


def twice(p):
    p.grad = p.grad * 2


STATE = "changes .* and its outputs depend on that"
BACKWARD = "backward is not the derivative of its forward"
DRAWS = "draws from the random numbers of "
BRANCH = "laws are those of the run on the example, and of runs that take its branches"
# What is no gradient flow of one network, with what its error says.
REFUSED = {
    "weight hook": (hooked(lambda m: m.down.weight.register_hook(lambda g: g * 2)), BACKWARD),
    "post-accumulate hook": (hooked(lambda m: m.up.weight.register_post_accumulate_grad_hook(twice)), BACKWARD),
    "optimizer in backward": (hooked(steps_in_backward), "changes its parameter up.weight beside its gradient"),
    "accumulator hook": (hooked(hooks_the_accumulator), "holds the accumulator of the gradient of up.weight"),
    "backward hook": (
        hooked(lambda m: m.down.register_full_backward_hook(lambda part, i, o: (i[0] * 2,))),
        BACKWARD,
    ),
    "backward pre-hook": (
        hooked(lambda m: m.down.register_full_backward_pre_hook(lambda part, o: (o[0].clamp(-0.1, 0.1),))),
        BACKWARD,
    ),
    "hook of an activation": (lambda: made(clamps_gradients), BACKWARD),
    "clipped weight": (lambda: made(clips), "changes its parameter up.weight in place"),
    "teacher": (
        lambda: made(teaches, lambda m: setattr(m, "teacher", copy.deepcopy(m.up).requires_grad_(False))),
        "changes its parameter teacher.weight in place",
    ),
    "view in a closure": (lambda: made(lambda m, x: m.run(x), view_in_a_closure), "a weight that was read before"),
    "view in an attribute": (hooked(view_in_an_attribute), "a view of its parameter up.weight that was taken outside"),
    "view in a buffer": (hooked(view_in_a_buffer), "the parameter up.weight and the buffer view share memory"),
    "rows twice": (hooked(rows_twice), "the parameter rows and the parameter up.weight share memory"),
    "transposed memory": (transposed, "the parameter 0.weight and the parameter 2.weight share memory"),
    "iterator": (hooked(lambda m: setattr(m, "steps", iter([1, 2]))), "steps is an iterator"),
}
# What is another function at other calls, or has a backward of its own: derived, with what its note says.
NOTED = {
    "custom backward": (
        lambda: made(lambda m, x: m.down(Straight.apply(m.up(x)))),
        "backwards that are written by hand",
    ),
    "Python's random numbers": (lambda: made(draws(lambda m: random.random())), f"{DRAWS}Python"),
    "numpy's random numbers": (lambda: made(draws(lambda m: np.random.rand())), f"{DRAWS}numpy"),
    "random numbers of its own": (
        lambda: made(draws(lambda m: m.rng.random()), lambda m: setattr(m, "rng", random.Random(0))),
        f"{DRAWS}rng",
    ),
    "a numpy generator of its own": (
        lambda: made(draws(lambda m: m.rng.random()), lambda m: setattr(m, "rng", np.random.default_rng(0))),
        f"{DRAWS}rng",
    ),
    "torch's random numbers": (lambda: made(draws(lambda m: torch.rand(()))), BRANCH),
    "branch on data": (
        lambda: made(lambda m, x: plain(m, x) if x.mean() > 0 else other(m, x)),
        BRANCH,
    ),
    "counter": (lambda: made(counted(lambda m: m.calls > 100), lambda m: setattr(m, "calls", 0)), STATE),
    "parity": (lambda: made(counted(lambda m: m.calls % 2), lambda m: setattr(m, "calls", 0)), STATE),
    "decaying factor": (lambda: made(decays, lambda m: setattr(m, "scale", 1.0)), STATE),
    "global counter": (lambda: made(counts_globally), "changes the global CALLS"),
    "counter in a closure": (counts_in_a_closure, "changes the variable calls of body"),
    "counter on the class": (counts_on_the_class, "changes Counting.calls"),
    "counter in a list": (lambda: made(counts_in_a_list, lambda m: setattr(m, "seen", [])), STATE),
    "counter in a dict": (lambda: made(counts_in_a_dict, lambda m: setattr(m, "seen", {})), STATE),
    "counter in a buffer": (
        lambda: made(buffered(lambda m: m.calls > 100), lambda m: m.register_buffer("calls", torch.zeros(()))),
        "changes its buffer calls",
    ),
    "counter in a new buffer": (
        lambda: made(rebound, lambda m: m.register_buffer("calls", torch.zeros(()))),
        "changes its buffer calls",
    ),
    "first call": (lambda: made(first_call, lambda m: setattr(m, "first", True)), "changes first"),
    "memory of the last call": (lambda: made(remembers, lambda m: setattr(m, "last", None)), "changes last"),
    "spectral norm": (
        hooked(lambda m: torch.nn.utils.parametrizations.spectral_norm(m.up)),
        "changes its buffer up.parametrizations.weight.0._v",
    ),
    "running mean": (
        lambda: made(running_mean, lambda m: m.register_buffer("mean", torch.zeros(4))),
        "changes its buffer mean",
    ),
}
