"""What one of two processes does in the tests of sharded weights."""

import os
from typing import Any

import torch
from torch import nn
from torch.distributed import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn import functional as F

import lawful as lw

WIDTH, HEADS = 12, 2
X = torch.randn(8, 5, 6, generator=torch.Generator().manual_seed(3)).double()
Y = torch.randint(0, 4, (8,), generator=torch.Generator().manual_seed(4))


class Net(nn.Module):
    """Stem, attention, ReLU layer and linear pair on a skip, head: balances of all kinds, heads, norms and shifts."""

    def __init__(self, heads: int = HEADS) -> None:
        super().__init__()
        torch.manual_seed(0)
        d = WIDTH
        self.stem, self.norm = nn.Linear(6, d), nn.LayerNorm(d)
        self.q, self.v, self.o = (nn.Linear(d, d) for _ in range(3))
        self.k = nn.Linear(d, d, bias=False)  # its bias has a gradient of rounding only, which Adam blows up
        self.up, self.down = nn.Linear(d, 10), nn.Linear(10, d)
        self.a, self.b = nn.Linear(d, 7, bias=False), nn.Linear(7, d, bias=False)
        self.head = nn.Linear(d, 4)
        self.dim = d // heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        z = self.norm(x)
        q, k, v = (f(z).unflatten(-1, (-1, self.dim)).transpose(1, 2) for f in (self.q, self.k, self.v))
        a = torch.softmax(q @ k.mT / self.dim**0.5, -1) @ v
        x = x + self.o(a.transpose(1, 2).flatten(2))
        x = x + self.down(F.relu(self.up(x)))
        x = x + self.b(self.a(x))
        return self.head(x.mean(1))


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2),
    "adam, one loop": lambda p: torch.optim.Adam(p, 1e-2, weight_decay=1e-3, foreach=False),
    "unknown": lambda p: Mine(p),
}


class Mine(torch.optim.SGD):
    """An optimizer whose equations are not known."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad.sign() * 1e-3 + 0.01 * p.grad)


def run(model: nn.Module, laws: Any, optimizer: str, rows: slice, clip: bool = False, fault: bool = False) -> lw.Ledger:
    made = OPTIMIZERS[optimizer](model.parameters())
    ledger = lw.Ledger(model, made, laws)
    for i in range(5):
        made.zero_grad()
        F.cross_entropy(model(X[rows] + i), Y[rows]).backward()
        if clip:
            ledger.before_clipping()
            nn.utils.clip_grad_value_(model.parameters(), 1e-2, foreach=False)
        if fault and i == 2:
            model.up.weight.grad.mul_(2.0)
        made.step()
    return ledger


def facts(ledger: lw.Ledger) -> dict[str, Any]:
    accounts = {
        n: {c: x.clone() for c, x in a.ordered().items()} | {"change": a.change} for n, a in ledger.accounts.items()
    }
    rows = {r.law: (r.relative, r.verdict) for r in ledger.rows()}
    return {
        "accounts": accounts,
        "rows": rows,
        "findings": [(f.kind, f.parameters, f.fault) for f in ledger.findings()],
    }


def shard(model: nn.Module, how: str) -> nn.Module:
    mesh = init_device_mesh("cpu", (2,))
    if how == "fsdp":
        for part in (model.q, model.k, model.v, model.o, model.up, model.down):
            fully_shard(part, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model
    plan = dict.fromkeys(("q", "k", "v", "up"), ColwiseParallel())  # the other layers are whole in both processes
    return parallelize_module(model, mesh, plan | dict.fromkeys(("o", "down"), RowwiseParallel()))


def worker(rank: int, port: int, how: str, cases: list[tuple[str, bool, bool]], heads: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.set_default_dtype(torch.float64)
    laws = lw.derive(Net(heads), "cross_entropy", args=(X,))
    half = slice(4 * rank, 4 * rank + 4) if how == "fsdp" else slice(None)
    out = []
    for optimizer, clip, fault in cases:
        model = shard(Net(heads), how)
        out.append(facts(run(model, laws, optimizer, half, clip, fault)))
    torch.save(out, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
