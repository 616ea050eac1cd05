"""Published architectures as functions that return an `Architecture`; no weight is allocated.

Answers: a network of a paper, at any width and depth.
Imports: `architecture` and `lawful.blocks`.
Read first: `language` and `resnet`; `perceptron` for the smallest.
"""

import functools
from collections.abc import Callable
from typing import Any

from lawful.blocks import ShapeError
from lawful.theory.arguments import no_such
from lawful.theory.refusals import refused
from lawful.theory.typed import typed

from .convnext import convnext, convnext_base, convnext_small, convnext_tiny
from .decoders import gemma2, gpt_neox, gptj, pythia, qwen3
from .densenet import densenet, densenet121, densenet169, densenet201
from .efficientnet import efficientnet, efficientnet_b0
from .encdec import t5, whisper
from .encoders import bert
from .experts import deepseek_moe, mixtral
from .graphs import gcn, graphsage
from .language import gpt2, llama
from .mixer import mlp_mixer
from .mobilenet import mobilenet_v2, mobilenet_v3, mobilenet_v3_large, mobilenet_v3_small
from .multimodal import clip
from .perceptron import autoencoder, deep_linear, mlp
from .preact import preact_resnet, wide_resnet
from .recurrent import lstm_lm
from .resnet import (
    resnet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    wide_resnet50_2,
)
from .state_space import mamba
from .swin import swin, swin_b, swin_s, swin_t
from .unet import unet
from .vgg import vgg, vgg11, vgg13, vgg16, vgg19
from .vit import deit, vit

__all__ = [
    "autoencoder",
    "bert",
    "clip",
    "convnext",
    "convnext_base",
    "convnext_small",
    "convnext_tiny",
    "deep_linear",
    "deepseek_moe",
    "deit",
    "densenet",
    "densenet121",
    "densenet169",
    "densenet201",
    "efficientnet",
    "efficientnet_b0",
    "gcn",
    "gemma2",
    "gpt2",
    "gpt_neox",
    "gptj",
    "graphsage",
    "llama",
    "lstm_lm",
    "mamba",
    "mixtral",
    "mlp",
    "mlp_mixer",
    "mobilenet_v2",
    "mobilenet_v3",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "preact_resnet",
    "pythia",
    "qwen3",
    "resnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "swin",
    "swin_b",
    "swin_s",
    "swin_t",
    "t5",
    "unet",
    "vgg",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "vit",
    "whisper",
    "wide_resnet",
    "wide_resnet50_2",
]


def _listed(family: Callable[..., Any]) -> Callable[..., Any]:
    """A family whose lists (stages, sides of an image) may not be empty, nor of a length that it does not have."""
    way_out = "give its lists as many entries as its defaults have, two for the sides of an image"

    @functools.wraps(family)
    def build(*args: Any, **kwargs: Any) -> Any:
        with refused(f"the family {family.__name__} cannot be built so", way_out, ShapeError):
            return family(*args, **kwargs)

    return build


for _name in __all__:
    globals()[_name] = typed(ShapeError, least={"edges": 0, "rows": 0})(_listed(globals()[_name]))


def __getattr__(name: str) -> Any:
    raise no_such("lawful.families", name, __all__, "family")
