"""Loops as they stand in well-known repositories, with three lines of the ledger: explained, and nobody accused."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from loops import Backward
from torch import nn

import lawful as lw
from lawful.dynamics.norm_forms import measured


class LayerNorm(nn.Module):
    """As in nanoGPT: its epsilon stands in the call."""

    def __init__(self, width: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias, self.at = nn.Parameter(torch.ones(width)), None, (epsilon,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.at[0])


class Block(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = LayerNorm(c), LayerNorm(c)
        self.c_attn, self.c_proj = nn.Linear(c, 3 * c, bias=False), nn.Linear(c, c, bias=False)
        self.mlp = nn.Sequential(nn.Linear(c, 4 * c, bias=False), nn.GELU(), nn.Linear(4 * c, c, bias=False))
        self.factor = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.shape
        q, k, v = (z.view(b, t, 2, c // 2).transpose(1, 2) for z in self.c_attn(self.ln_1(x)).split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
        x = x + self.c_proj(y)
        h = self.ln_2(x)
        return x + self.mlp(h if self.factor == 1 else Backward.apply(h, self.factor))


class GPT(nn.Module):
    def __init__(self, v: int = 17, t: int = 8, c: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wte, self.wpe = nn.Embedding(v, c), nn.Embedding(t, c)
        self.h, self.ln_f = nn.ModuleList([Block(c), Block(c)]), LayerNorm(c)
        self.lm_head = nn.Linear(c, v, bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, idx: torch.Tensor, targets: torch.Tensor | None = None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1], device=idx.device))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        if targets is None:
            return logits[:, [-1]], None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def nanogpt(plant: Callable[[GPT], object] = lambda m: None) -> lw.Ledger:
    model = GPT()
    some = list(model.parameters())
    groups = [{"params": [p for p in some if p.dim() >= 2], "weight_decay": 0.1}]
    groups.append({"params": [p for p in some if p.dim() < 2], "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95))
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy")
    for it in range(8):
        if it == 1:
            plant(model)
        for group in optimizer.param_groups:
            group["lr"] = 6e-4 * min(1.0, (it + 1) / 4) * 0.5 * (1 + math.cos(math.pi * it / 10))
        if it % 4 == 0:
            model.eval()
            with torch.no_grad():
                model(torch.randint(17, (2, 8)), torch.randint(17, (2, 8)))
            model.train()
        for _ in range(2):
            idx = torch.randint(17, (4, 9))
            _, loss = model(idx[:, :-1], idx[:, 1:])
            scaler.scale(loss / 2).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
    return ledger


def test_nanogpt_whose_forward_returns_its_loss() -> None:
    ledger = nanogpt()
    assert len(ledger.laws) >= 14 and ledger.verdict == "epsilon", ledger.health()
    assert not [f for f in ledger.findings() if f.fault]
    assert "preconditioner" in ledger.explain(ledger.laws[0].name)


def test_a_wrong_backward_behind_its_own_norm_is_seen() -> None:
    ledger = nanogpt(lambda m: setattr(m.h[1], "factor", 1.02))
    assert ledger.verdict == "unexplained", ledger.health()


@pytest.mark.parametrize("epsilon", [1e-3, 1e-5, 1e-6, 2.5e-7, 1e-8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_epsilon_of_a_norm_that_does_not_say_it(epsilon: float, dtype: torch.dtype) -> None:
    x = torch.randn(3, 5, 7, dtype=dtype)
    found = measured(LayerNorm(7, epsilon).to(dtype), x, -1)
    assert found == pytest.approx(epsilon, rel=1e-3)
    assert measured(nn.Linear(7, 7).to(dtype), x, -1) is None


def ema(model: nn.Module, average: nn.Module) -> None:
    with torch.no_grad():
        for a, b in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            a.copy_(0.99 * a + 0.01 * b)


def timm() -> list[lw.Ledger]:
    """Mixup, soft targets, decay of matrices only, an average, a warm-up, clipping."""
    convs = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False)
    body = convs[0], nn.BatchNorm2d(8), nn.ReLU(), convs[1], nn.BatchNorm2d(8), nn.ReLU()
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    average = copy.deepcopy(model).eval()
    plain, decayed = ([p for p in model.parameters() if (p.ndim > 1) == many] for many in (False, True))
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.05}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, foreach=True)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5)
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy")
    for _ in range(2):
        model.train()
        for i in range(5):
            x, t = torch.randn(8, 3, 8, 8), F.one_hot(torch.randint(0, 5, (8,)), 5) * 0.9 + 0.02
            mix = 0.2 + 0.1 * i
            x, t = mix * x + (1 - mix) * x.flip(0), mix * t + (1 - mix) * t.flip(0)
            loss = -(t * F.log_softmax(model(x), -1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            ema(model, average)
            warm.step()
        model.eval()
        model(torch.randn(2, 3, 8, 8))
    return [ledger]


def mlp(i: int, o: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(i, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, o))


class Agent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.critic, self.actor = mlp(4, 1), mlp(4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.actor(x), self.critic(x)


def ppo() -> list[lw.Ledger]:
    """Parts of the model are called, not the model; several passes over the same data; the rate is annealed."""
    agent = Agent()
    optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5)
    ledger = lw.Ledger(agent, optimizer, args=torch.randn(8, 4))
    for update in range(2):
        optimizer.param_groups[0]["lr"] = (1 - update / 2) * 2.5e-4
        obs, advantage = torch.randn(64, 4), torch.randn(64)
        with torch.no_grad():
            old = torch.distributions.Categorical(logits=agent.actor(obs))
            action = old.sample()
            before, returns = old.log_prob(action), advantage + agent.critic(obs)[:, 0]
        for _ in range(2):
            for mb in torch.randperm(64).split(16):
                new = torch.distributions.Categorical(logits=agent.actor(obs[mb]))
                ratio, a = (new.log_prob(action[mb]) - before[mb]).exp(), advantage[mb]
                policy = torch.max(-a * ratio, -a * ratio.clamp(0.8, 1.2)).mean()
                value = (agent.critic(obs[mb])[:, 0] - returns[mb]).square().mean()
                optimizer.zero_grad()
                (policy - 0.01 * new.entropy().mean() + 0.25 * value).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
    return [ledger]


def dqn() -> list[lw.Ledger]:
    q = mlp(4, 3)
    target = copy.deepcopy(q)
    optimizer = torch.optim.Adam(q.parameters(), 1e-3)
    ledger = lw.Ledger(q, optimizer)
    for i in range(10):
        s, a, r, following = torch.randn(16, 4), torch.randint(0, 3, (16, 1)), torch.randn(16), torch.randn(16, 4)
        with torch.no_grad():
            wanted = r + 0.99 * target(following).max(1)[0]
        loss = F.mse_loss(wanted, q(s).gather(1, a).squeeze())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 5 == 0:
            for one, other in zip(target.parameters(), q.parameters(), strict=True):
                one.data.copy_(0.1 * other.data + 0.9 * one.data)
    return [ledger]


def gan() -> list[lw.Ledger]:
    """Two optimizers; the gradients that the generator's step leaves in the discriminator are thrown away."""
    make = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.2), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())
    make.append(nn.Linear(16, 6))
    judge = nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Sigmoid())
    one, two = (torch.optim.Adam(m.parameters(), 2e-4, betas=(0.5, 0.999)) for m in (make, judge))
    ledgers = [lw.Ledger(make, one), lw.Ledger(judge, two)]
    for _ in range(8):
        real, label = torch.randn(16, 6), torch.ones(16, 1)
        judge.zero_grad()
        F.binary_cross_entropy(judge(real), label).backward()
        fake = make(torch.randn(16, 4))
        F.binary_cross_entropy(judge(fake.detach()), 0 * label).backward()
        two.step()
        make.zero_grad()
        F.binary_cross_entropy(judge(fake), label).backward()
        one.step()
    return ledgers


def folds() -> list[lw.Ledger]:
    """A new model in each fold; the best state is loaded at the end."""
    x, y = torch.randn(48, 4), torch.arange(48) % 3
    ledgers = []
    for fold in range(3):
        model, best, state = mlp(4, 3), math.inf, None
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
        ledgers.append(lw.Ledger(model, optimizer, loss="cross_entropy"))
        held = torch.arange(48) % 3 == fold
        for _ in range(3):
            model.train()
            for b in torch.where(~held)[0].split(8):
                optimizer.zero_grad()
                F.cross_entropy(model(x[b]), y[b]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                now = float(F.cross_entropy(model(x[held]), y[held]))
            if now < best:
                best, state = now, copy.deepcopy(model.state_dict())
        model.load_state_dict(state)
    return ledgers


@pytest.mark.parametrize("loop", [timm, ppo, dqn, gan, folds])
def test_loops_of_others(loop: Callable[[], list[lw.Ledger]]) -> None:
    torch.manual_seed(0)
    for ledger in loop():
        assert ledger.laws and ledger.steps >= 8
        assert ledger.verdict.partition(" ")[0] in ("ok", "rounding", "epsilon"), ledger.health()
        assert not [f for f in ledger.findings() if f.fault], ledger.health()
        assert "remainder" in ledger.explain(ledger.laws[0].name)
