"""Laws of sharded weights in place: two processes give the values of one, and name the same faults."""

import socket
from pathlib import Path

import pytest
import torch
from sharded_worker import Net, X, facts, run, worker

import lawful as lw

CASES = [
    ("sgd", False, False),
    ("adamw", False, False),
    ("adam, one loop", True, False),
    ("unknown", False, False),
    ("sgd", False, True),
]


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("how", "heads"),
    [("tensor parallel", 2), ("fsdp", 1), ("fsdp", 2)],
)
def test_two_processes_give_the_values_of_one(tmp_path: Path, how: str, heads: int) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    torch.multiprocessing.spawn(worker, (port, how, CASES, heads, str(tmp_path)), nprocs=2)
    one, two = (torch.load(tmp_path / f"{r}.pt") for r in (0, 1))
    torch.set_default_dtype(torch.float64)
    try:
        laws = lw.derive(Net(heads), "cross_entropy", args=(X,))
        for i, (optimizer, clip, fault) in enumerate(CASES):
            wanted = facts(run(Net(heads), laws, optimizer, slice(None), clip, fault))
            for got in (one[i], two[i]):
                if fault:
                    assert any(f[2] and "up.weight" in f[1] for f in got["findings"]), got["findings"]
                    continue
                assert got["findings"] == wanted["findings"] == []
                assert {n: r[1] for n, r in got["rows"].items()} == {n: r[1] for n, r in wanted["rows"].items()}
                for name, parts in wanted["accounts"].items():
                    assert set(parts) == set(got["accounts"][name]), (name, optimizer)
                    for cause, x in parts.items():
                        torch.testing.assert_close(
                            got["accounts"][name][cause],
                            x,
                            rtol=0,
                            atol=1e-12,
                            msg=lambda m, w=(i, optimizer, name, cause): f"{w}: {m}",
                        )
    finally:
        torch.set_default_dtype(torch.float32)
