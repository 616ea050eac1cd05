"""A training run with checkpoints that somebody kills: `python killed.py FOLDER STEPS`."""

import os
import sys
from pathlib import Path

import torch
from torch import nn

import lawful as lw

EVERY = 5  # steps from one checkpoint to the next


def main(folder: Path, steps: int) -> None:
    """Trains up to so many steps, from the last checkpoint if there is one; prints the number of every step."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.BatchNorm1d(10), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3))
    model = net.double()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy", args=torch.randn(6, 4, dtype=torch.float64))
    saved, parts = folder / "run.pt", {"model": model, "optimizer": optimizer, "schedule": schedule, "ledger": ledger}
    begin = 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        begin = state.pop("step")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    for step in range(begin, steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 4, dtype=torch.float64, generator=generator)
        y = torch.randint(0, 3, (16,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        schedule.step()
        print(step, flush=True)
        if (step + 1) % EVERY == 0:
            torch.save({n: p.state_dict() for n, p in parts.items()} | {"step": step + 1}, folder / "new.pt")
            os.replace(folder / "new.pt", saved)
    torch.save({"verdict": ledger.verdict, "steps": ledger.steps, "rows": rows(ledger)}, folder / "end.pt")


def rows(ledger: lw.Ledger) -> dict[str, dict[str, float]]:
    """The account of every law, as plain numbers."""
    return {r.law: {"change": r.change, "remainder": r.relative, **r.causes} for r in ledger.rows()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
