"""Small instances of published image models, and experts of transformers whatever implementation is chosen."""

import importlib.util

import pytest
import torch

import lawful as lw
from lawful import specs
from lawful.atlas import models
from lawful.atlas.built import NotBuilt
from lawful.atlas.hugging import COUNTED


def needs(*libraries: str) -> None:
    """Skips a test without the libraries; importing them here would fail beside a torch that they do not fit."""
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")


@pytest.mark.parametrize(
    "name",
    ["timm:vit_tiny_patch16_224", "timm:mixer_b16_224", "timm:swin_tiny_patch4_window7_224", "torchvision:vit_b_16"],
)
def test_the_class_of_a_model_makes_a_small_instance(name: str) -> None:
    needs(*models.NEEDS[name.split(":")[0]])
    built = models.instance(name)
    full = models.build(name, full=True)
    assert built.scalars <= COUNTED < full.scalars and type(built.module) is type(full.module)
    assert built.module(*built.args).shape == (2, 3) and not built.published and not built.module.training
    assert models.instance(name, training=True).module.training


def test_options_of_the_user_stay() -> None:
    needs("timm", "torchvision")
    assert len(models.instance("timm:vit_tiny_patch16_224", options={"depth": 3}).module.blocks) == 3


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("timm:vgg11", "timm:vgg11 has its widths in its code or in a table"),
        ("timm:efficientnet_b0", "has its widths in its code or in a table"),
        ("torchvision:alexnet", "no option for them, so that no smaller instance of it can be made"),
        ("timm:vgg", "timm has no model 'vgg'"),
    ],
)
def test_why_there_is_no_small_instance(name: str, why: str) -> None:
    needs(*models.NEEDS[name.split(":")[0]])
    with pytest.raises(NotBuilt, match=why):
        models.instance(name)


def test_specs_know_how_to_make_one() -> None:
    assert specs.instance_of("timm:vit_tiny_patch16_224") and specs.instance_of("hf:gpt2")
    assert specs.instance_of("family:gpt2") is None


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_experts_of_transformers(implementation: str) -> None:
    needs("transformers")
    from lawful.atlas.hugging import types

    types()  # declares what transformers needs
    from transformers import MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=11,
        hidden_size=8,
        intermediate_size=6,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        num_local_experts=4,
        max_position_embeddings=16,
    )
    module = MixtralForCausalLM(config).eval()
    module.set_experts_implementation(implementation)
    laws = lw.derive(module, "cross_entropy", args=(torch.randint(11, (2, 5)),))
    assert laws.independent == 77
    assert not any("opaque" in note or "degrees" in note or "no rule" in note for note in laws.notes), laws.notes
    assert module.config._experts_implementation == implementation
