"""The kit on a training step, on compiled modules, on sets of laws; and a module that comes back as it was."""

import importlib
import socket

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.testing import assert_complete, assert_lawful, assert_same_laws, assert_step_lawful
from lawful.theory.verdict import Verdict

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))


def mlp(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def accumulated(model: nn.Module, parts: int = 2) -> None:
    model.zero_grad()
    for x in X.chunk(parts):
        (model(x).square().mean() / parts).backward()


def test_a_step() -> None:
    model = mlp()
    laws = lw.derive(model, args=(X,))
    accumulated(model)
    assert assert_step_lawful(model, laws).verdict is Verdict.HOLDS
    assert assert_step_lawful(model, args=(X,)).residual < 1e-5
    reference = {n: p.grad.clone() for n, p in model.named_parameters()}
    accumulated(model, 4)
    assert_step_lawful(model, reference_grads=reference)
    model[2].weight.grad[3] *= 1.01
    with pytest.raises(AssertionError, match="law broken: balance of 0"):
        assert_step_lawful(model, laws)


def test_what_only_a_reference_sees() -> None:
    model = mlp()
    laws = lw.derive(model, args=(X,))
    accumulated(model)
    reference = {n: p.grad.clone() for n, p in model.named_parameters()}
    for p in model.parameters():
        p.grad *= 2
    assert_step_lawful(model, laws)
    with pytest.raises(AssertionError, match="2 times too large"):
        assert_step_lawful(model, laws, reference_grads=reference)


def test_a_step_that_says_nothing() -> None:
    model = mlp()
    with pytest.raises(ValueError, match="nothing to judge the gradients by"):
        assert_step_lawful(model)
    with pytest.raises(AssertionError, match=r"no gradient \(None\)"):
        assert_step_lawful(model, args=(X,))
    accumulated(model)
    model[0].weight.grad[0, 0] = torch.nan
    with pytest.raises(AssertionError, match="not a number"):
        assert_step_lawful(model, args=(X,))


def test_as_it_is_and_as_it_was() -> None:
    model = mlp()
    accumulated(model)
    before = {n: (p.detach().clone(), p.grad.clone()) for n, p in model.named_parameters()}
    state = torch.get_rng_state()
    for run in ("double", "as_is"):
        assert assert_lawful(model, (X,), run=run).verdict is Verdict.HOLDS
    assert_lawful(mlp().bfloat16(), (X.bfloat16(),), run="as_is")
    assert torch.equal(state, torch.get_rng_state())
    for n, p in model.named_parameters():
        assert torch.equal(p, before[n][0]) and torch.equal(p.grad, before[n][1])
    with pytest.raises(ValueError, match="run is 'fast'"):
        assert_lawful(model, (X,), run="fast")


def test_a_hook_that_changes_a_gradient_is_found() -> None:
    model = mlp()
    model[0].weight.register_hook(lambda g: 2 * g)
    with pytest.raises(AssertionError, match=r"2 times too large; .*a hook changes it \(0\.weight, test_kit_step\.py"):
        assert_lawful(model, (X,))
    model = mlp()
    model[1].register_full_backward_pre_hook(lambda module, g: (g[0] / 2,))
    with pytest.raises(AssertionError, match=r"a hook changes it \(1, test_kit_step\.py"):
        assert_lawful(model, (X,))


def test_dead_units_are_not_exercised() -> None:
    model = mlp()
    with torch.no_grad():
        model[0].bias[:2] = -50.0
    found = assert_lawful(model, (X,), samples=1)
    assert found["balance of 0"].tested < found["balance of 0"].scalars == 8


def broken(graph, examples):
    def run(*args):
        out = list(graph(*args) if not isinstance(args[0], list) else graph(*args[0]))
        flat = [i for i, o in enumerate(out) if isinstance(o, torch.Tensor) and o.ndim == 1]
        out[flat[0]] = torch.zeros_like(out[flat[0]])
        return tuple(out)

    return run


@pytest.mark.nightly
@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_compiled(wrong: bool, own: bool) -> None:
    aot_autograd = importlib.import_module("torch._dynamo.backends.common").aot_autograd

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    torch._dynamo.reset()
    backend = aot_autograd(fw_compiler=lambda g, e: g, bw_compiler=broken if wrong else lambda g, e: g)
    model = Net()
    if own:
        model.compile(backend=backend)
    compiled = model if own else torch.compile(model, backend=backend)
    if not wrong:
        assert_lawful(compiled, (X,))
        return
    with pytest.raises(AssertionError, match="missing: it is zero everywhere"):
        assert_lawful(compiled, (X,))


def process(rank: int, port: int) -> None:
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    laws, x = lw.derive(mlp(), args=(X,)), X[rank * 8 : rank * 8 + 8]
    model = nn.parallel.DistributedDataParallel(mlp())
    assert_lawful(model, (x,))
    model(x).square().mean().backward()
    assert_step_lawful(model, laws)
    model.module[2].weight.grad *= 2
    with pytest.raises(AssertionError, match="law broken"):
        assert_step_lawful(model, laws)
    sharded = mlp()
    fully_shard(sharded, mesh=dist.init_device_mesh("cpu", (2,)))
    sharded(x).square().mean().backward()
    assert_step_lawful(sharded, laws)
    with pytest.raises(ValueError, match="are sharded"):
        assert_lawful(sharded, (x,))
    dist.destroy_process_group()


@pytest.mark.nightly
def test_two_processes() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(process, (port,), 2)


def test_sets_of_laws() -> None:
    assert_same_laws(mlp(), mlp(1), (X,))
    other = mlp()
    other[1] = nn.GELU()
    with pytest.raises(AssertionError, match=r"do not conserve the same[\s\S]*- disappeared: balance of 0"):
        assert_same_laws(mlp(), other, (X,))
    assert assert_complete(b.MLP(3, 4)).complete


def test_what_nothing_was_tested_on_is_no_pass() -> None:
    """A model without laws, a name that is no parameter, and parameters that no law reads."""
    torch.manual_seed(0)
    x = torch.randn(8, 6)
    smooth = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.GELU(), torch.nn.Linear(5, 4))
    smooth(x).square().mean().backward()
    with pytest.raises(AssertionError, match="nothing was tested"):
        assert_step_lawful(smooth, args=x)
    with pytest.raises(ValueError, match=r"'w', which is no trained parameter of Sequential; there are 0\.weight"):
        assert_step_lawful(smooth, reference_grads={"w": smooth[0].weight.grad})
    kinked = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4))
    kinked(x).square().mean().backward()
    found = assert_step_lawful(kinked, args=x)
    assert found.silent == ("2.bias",)
    assert str(found).startswith(
        "Sequential: the gradients of 3 of 4 parameters are right; no law and no reference decides on"
    )


def units(scale: float) -> tuple[torch.nn.Module, torch.Tensor]:
    """A convolution whose BatchNorm reads numbers of which its epsilon is a large part."""
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 3))
    return nn.Sequential(*layers), scale * torch.rand(8, 3, 6, 6)


def pair(scale: float) -> tuple[torch.nn.Module, torch.Tensor]:
    """BatchNorm on two examples, which may be close to one another."""
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)), scale * torch.randn(2, 4)


def single(scale: float) -> tuple[torch.nn.Module, torch.Tensor]:
    """A norm of one number: it hands on the rounding of what it reads, three hundred times larger."""
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.GroupNorm(4, 4), nn.Linear(4, 3)), scale * torch.randn(9, 3)


@pytest.mark.parametrize("make", [units, pair, single])
def test_what_an_epsilon_or_rounding_explains_accuses_nobody_in_a_step(make) -> None:
    for seed in range(2):
        torch.manual_seed(seed)
        model, x = make(0.02)
        laws = lw.derive(model, args=(x,))
        for dtype in (torch.float32, torch.float64):
            model.zero_grad()
            model.to(dtype)(x.to(dtype)).square().mean().backward()
            try:
                found = assert_step_lawful(model, laws)
                assert not found.wrong
            except AssertionError as error:
                assert "nothing was tested" in str(error)
        if make is units:  # an exact law still sees a fault of the same step
            model[-1].weight.grad[:, 0] *= 1.5
            with pytest.raises(AssertionError, match=r"law broken: balance of 1"):
                assert_step_lawful(model, laws)


def _stepped(
    module: nn.Module, x: torch.Tensor, loss: str = "cross_entropy"
) -> tuple[lw.LawSet, dict[str, torch.Tensor]]:
    laws = lw.derive(module, loss, args=x)
    nn.functional.cross_entropy(module(x), torch.arange(len(x)) % 3).backward()
    return laws, {n: p.grad.clone() for n, p in module.named_parameters()}


CONV = (
    lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    ),
    (8, 1, 6, 6),
)
DENSE = (lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)), (16, 5))


@pytest.mark.parametrize("bed", [CONV, DENSE], ids=["convolutions", "dense"])
@pytest.mark.parametrize("factor", [2.0, -1.0, 0.0, 1.1])
def test_laws_vouch_for_what_they_would_miss(bed, factor: float) -> None:
    """A gradient times a number passes only where the parameter is said to be judged up to a factor, or not at all."""
    torch.manual_seed(0)
    module = bed[0]()
    laws, base = _stepped(module, torch.randn(bed[1]))
    for name, p in module.named_parameters():
        p.grad = factor * base[name]
        try:
            found = assert_step_lawful(module, laws)
        except AssertionError as error:
            assert name in str(error)
        else:
            assert name in found.halved + found.silent and name not in found.vouched("laws"), (name, str(found))
            assert name in str(found)
        p.grad = base[name]
    found = assert_step_lawful(module, laws)
    assert len(found.vouched("laws")) >= 4 and not set(found.vouched("laws")) & {*found.halved, *found.silent}


def test_the_gradient_of_a_bias_that_is_zero_is_seen_by_no_balance() -> None:
    torch.manual_seed(0)
    module = CONV[0]()
    laws, _ = _stepped(module, torch.randn(CONV[1]))
    module[1].bias.grad = torch.randn(4)
    found = assert_step_lawful(module, laws)
    assert "1.bias" in found.silent and "0.weight" in found.halved
    assert str(found).startswith("Sequential: the gradients of 4 of 8 parameters are right; up to a factor, so are")


@pytest.mark.parametrize(("name", "first"), [("2.weight", "2.weight:"), ("0.weight", "one of 0.weight, 0.bias:")])
def test_of_broken_laws_the_fewest_parameters_that_explain_them_come_first(name: str, first: str) -> None:
    torch.manual_seed(0)
    module = DENSE[0]()
    laws, base = _stepped(module, torch.randn(DENSE[1]))
    module.get_parameter(name).grad = 2 * base[name]
    with pytest.raises(AssertionError) as error:
        assert_step_lawful(module, laws)
    lines = str(error.value).splitlines()
    assert lines[0] == "Sequential: wrong gradients (at least 1 of 6 parameters)"
    assert lines[1].strip().startswith(f"parameter:  {first}"), lines


def test_a_reference_is_compared_in_its_own_numbers() -> None:
    torch.manual_seed(0)
    module = DENSE[0]()
    _, base = _stepped(module, torch.randn(DENSE[1]))
    rounded = {n: g.bfloat16() for n, g in base.items()}
    assert assert_step_lawful(module, reference_grads=rounded).verdict.passed
    with pytest.raises(AssertionError, match=r"2\.weight"):
        assert_step_lawful(module, reference_grads=rounded | {"2.weight": 2 * rounded["2.weight"]})
    with pytest.raises(ValueError, match=r"reference_grads\['0.bias'\] holds what is not a number"):
        assert_step_lawful(module, reference_grads=base | {"0.bias": base["0.bias"] / 0})
