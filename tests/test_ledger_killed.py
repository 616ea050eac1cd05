"""A run that is killed in the middle of a step goes on with its account intact."""

import signal
import subprocess
import sys
from pathlib import Path

import killed
import pytest
import torch

STEPS, LAST = 23, "13"  # the step after which it is killed: three are lost, and done again


def run_until_killed(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, killed.__file__, folder, str(STEPS)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == LAST:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_and_resumed(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    killed.main(tmp_path / "whole", STEPS)
    run_until_killed(tmp_path / "killed")
    assert not (tmp_path / "killed" / "end.pt").exists()
    killed.main(tmp_path / "killed", STEPS)  # in another process than the one that was killed: this one
    whole, again = (torch.load(tmp_path / n / "end.pt", weights_only=True) for n in ("whole", "killed"))
    assert whole["verdict"] == again["verdict"] != "unexplained" and whole["steps"] == again["steps"] == STEPS
    assert whole["rows"].keys() == again["rows"].keys() and whole["rows"]
    for law, row in whole["rows"].items():
        assert row.keys() == again["rows"][law].keys() and "outside the optimizer" not in row
        assert again["rows"][law] == pytest.approx(row, rel=1e-9, abs=1e-13)
