"""Published models, which are right, are not accused."""

import pytest

from lawful.atlas.models import build
from lawful.testing.examine import examine
from lawful.theory.verdict import Verdict

NAMES = """
    hf:afmoe
    hf:bailing_hybrid
    hf:chinese_clip
    hf:ernie
    hf:eurobert
    hf:falcon_h1
    hf:gpt_bigcode
    hf:granite_swa
    hf:groupvit
    hf:gte
    hf:internvl_vision
    hf:jamba
    hf:kimi_linear
    hf:llama
    hf:mimo_v2_flash
    hf:molmo2_text
    hf:mpt
    hf:nemotron
    hf:vit
    timm:convnext_atto
    timm:lcnet_035
    timm:mnasnet_050
    timm:semnasnet_050
    timm:starnet_s1
    torchvision:densenet121
    torchvision:mnasnet0_5
    torchvision:mobilenet_v3_small
    torchvision:regnet_x_1_6gf
    torchvision:resnet18
    torchvision:shufflenet_v2_x0_5
""".split()


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_a_published_model_passes(name: str) -> None:
    built = build(name, full=False)
    found = examine(built.module, built.args, built.kwargs, samples=1)
    assert found.verdict is not Verdict.VIOLATED, str(found)
