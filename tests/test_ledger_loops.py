"""The ledger in the loops of transformers, accelerate and lightning, in two processes, and in loggers."""

import socket
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from loops import LAWS, MLP
from torch import nn

import lawful as lw
from lawful.dynamics import callbacks, loggers

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(3)).double()
Y = torch.randint(0, 3, (64,), generator=torch.Generator().manual_seed(4))


class WithLoss(nn.Module):
    """As the Trainer wants it: a loss when there are labels."""

    def __init__(self) -> None:
        super().__init__()
        self.net = MLP()

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        z = self.net(x)
        return {"loss": nn.functional.cross_entropy(z, labels), "logits": z}


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_of_hugging_face(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")
    data = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]

    def go(steps: int, resume: bool) -> lw.Ledger:
        torch.manual_seed(0)
        arguments = transformers.TrainingArguments(
            str(tmp_path), max_steps=steps, per_device_train_batch_size=8, save_steps=5, logging_steps=5, report_to=[],
            use_cpu=True, weight_decay=0.1, disable_tqdm=True, lr_scheduler_type="cosine",
            gradient_accumulation_steps=2,
        )  # fmt: skip
        watch = callbacks.hugging_face(laws=LAWS)
        trainer = transformers.Trainer(WithLoss(), arguments, train_dataset=data, callbacks=[watch])
        trainer.train(resume_from_checkpoint=resume)
        assert trainer.state.log_history[0]["laws/remainder"] < 1e-12
        return watch.ledger

    assert go(5, False).verdict == "ok"
    again = go(10, True)
    assert again.steps == 10 and again.verdict == "ok", again.health()
    assert {"decay", "preconditioner"} <= set(again.rows()[0].causes)


@pytest.mark.filterwarnings("ignore")
def test_accelerate() -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = MLP()
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), 1e-2))
    ledger = lw.Ledger(model, optimizer, LAWS)
    for i in range(8):
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.cross_entropy(model(X[8 * i : 8 * i + 8]), Y[8 * i : 8 * i + 8]))
            if accelerator.sync_gradients:
                accelerator.clip_grad_value_(model.parameters(), 1e-3)
            optimizer.step()
            optimizer.zero_grad()
    assert ledger.steps == 4 and ledger.verdict == "ok", ledger.health()


@pytest.mark.filterwarnings("ignore")
def test_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = MLP()

        def training_step(self, batch, index):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    watch = callbacks.lightning(laws=LAWS)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[watch], logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, gradient_clip_val=0.5,
    )  # fmt: skip
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=16))
    assert watch.ledger.steps == 8 and watch.ledger.verdict == "ok", watch.ledger.health()


def test_loggers(tmp_path: Path) -> None:
    model = MLP()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    ledger = lw.Ledger(model, optimizer, LAWS)
    nn.functional.cross_entropy(model(X), Y).backward()
    optimizer.step()

    class Writer:
        seen: ClassVar[dict] = {}

        def add_scalar(self, name, value, step):
            self.seen[name] = (value, step)

    loggers.tensorboard(ledger, Writer())
    assert Writer.seen["laws/balance_of_fc1"][1] == 1
    assert set(Writer.seen) == set(loggers.scalars(ledger))
    loggers.to_csv(ledger, tmp_path / "laws.csv")
    head, *rows = (tmp_path / "laws.csv").read_text().splitlines()
    assert head == "law,change,step size,remainder,relative,verdict" and len(rows) == len(LAWS)


def _other(_: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    _both(1, port, folder)


def _both(rank: int, port: int, folder: str) -> None:
    """A run as it should be, and one in which the processes do not agree."""
    torch.distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", timeout=timedelta(minutes=5), rank=rank, world_size=2
    )
    try:
        for unsynchronised in (False, True):
            _train(rank, unsynchronised, folder)
    finally:
        torch.distributed.destroy_process_group()


def _train(rank: int, unsynchronised: bool, folder: str) -> None:
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(MLP())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    ledger = lw.Ledger(model, optimizer, LAWS)
    for i in range(6):
        part = slice(16 * (i % 2) + 32 * rank, 16 * (i % 2) + 32 * rank + 16)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X[part]), Y[part]).backward()
        if unsynchronised and rank == 1:
            model.module.fc2.weight.grad.mul_(1.01)
        optimizer.step()
    rows = [row.as_dict() for row in ledger.rows()]
    found = rows, [(f.kind, f.parameters) for f in ledger.findings()], ledger.verdict
    torch.save(found, f"{folder}/{unsynchronised}-{rank}.pt")


def test_two_processes(tmp_path: Path) -> None:
    """This process and another, which is started once for both runs: that takes longer than they do."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    other = torch.multiprocessing.spawn(_other, (port, str(tmp_path)), join=False)
    _both(0, port, str(tmp_path))
    assert other.join()
    one, two = (torch.load(tmp_path / f"True-{r}.pt") for r in (0, 1))
    assert "unexplained" in (one[2], two[2])
    assert any(k == "processes" and "fc2.weight" in p for k, p in two[1]), two
    one, two = (torch.load(tmp_path / f"False-{r}.pt") for r in (0, 1))
    assert one == two and one[2] == "ok" and not one[1]
    model = MLP()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    ledger = lw.Ledger(model, optimizer, LAWS)
    for i in range(6):
        optimizer.zero_grad()
        rows = torch.cat([torch.arange(16) + 16 * (i % 2), torch.arange(16) + 16 * (i % 2) + 32])
        nn.functional.cross_entropy(model(X[rows]), Y[rows]).backward()
        optimizer.step()
    for row, other in zip(ledger.rows(), one[0], strict=True):
        for key, value in row.as_dict().items():
            assert value == other[key] or abs(value - other[key]) < 1e-12
