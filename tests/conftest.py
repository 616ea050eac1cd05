"""How the tests run: the hypothesis profile that HYPOTHESIS_PROFILE names, and one torch thread per worker."""

import gc
import importlib
import os
import time

import hypothesis
import pytest
import torch

from lawful.atlas.stubs import declare_torchvision

for name, examples in {"quick": 30, "ci": 200, "nightly": 1000}.items():
    hypothesis.settings.register_profile(
        name,
        max_examples=examples,
        # Time limits would measure the machine, which is shared with other workers, and not the code.
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        # A failure must be reproducible from the log alone, on any machine.
        database=None,
        print_blob=True,
        # The same examples for the same code, so that a red run is the change's fault; the nightly run explores.
        derandomize=name != "nightly",
    )
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Beside the examples that are the same in every run, some are new in each; the workers of one run share the seed.
os.environ.setdefault("LAWFUL_SEED", str(int(time.time())))


def pytest_report_header(config):
    """The seed of what is drawn afresh, so that a red run can be repeated."""
    return f"fresh examples: LAWFUL_SEED={os.environ['LAWFUL_SEED']}"


def pytest_collection_finish():
    """What all test files made when they were imported stays: nobody has to look through it again for garbage."""
    gc.collect()
    gc.freeze()


torch.set_num_threads(1)
torch.manual_seed(0)  # parameters that a test file makes when it is imported: the same in every worker and run


@pytest.fixture(autouse=True)
def seeded():
    """What a test draws without a seed of its own is the same in every run, whatever ran before."""
    torch.manual_seed(0)


declare_torchvision()  # beside the CPU build of torch, before anything imports transformers or timm


def pytest_terminal_summary(terminalreporter):
    """A table of the families whose laws were counted in this run, and of those that only `make nightly` counts."""
    ran: dict[str, list] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            counted = "complete_and_lawful[" in report.nodeid or "engine_and_oracle_agree" in report.nodeid
            if report.when == "call" and "test_families" in report.nodeid and counted:
                ran.setdefault(report.nodeid.split("[")[1].rstrip("]"), []).append((outcome, report.duration))
    if not ran:
        return
    terminalreporter.section("families: engine = oracle on a small copy, every law verified")
    for name, results in sorted(ran.items()):
        seconds = sum(s for _, s in results)
        verdict = "FAILED" if any(o == "failed" for o, _ in results) else "complete and lawful"
        terminalreporter.write_line(f"{name:60} {verdict:20} {seconds:6.1f} s")
    rest = []
    for module in ("test_families_vision", "test_families_language"):
        rest += list(getattr(importlib.import_module(module), "LONG", {}))
    left = sorted(n for n in rest if not any(n in key for key in ran))
    if left:
        terminalreporter.write_line("only in `make nightly`: " + ", ".join(left))
