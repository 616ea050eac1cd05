"""Published architectures as functions that return an `Architecture`; no weight is allocated."""

from .language import gpt2, llama
from .perceptron import mlp
from .resnet import resnet, resnet18, resnet34, resnet50
from .vgg import vgg, vgg16
from .vision import vit

__all__ = ["gpt2", "llama", "mlp", "resnet", "resnet18", "resnet34", "resnet50", "vgg", "vgg16", "vit"]
