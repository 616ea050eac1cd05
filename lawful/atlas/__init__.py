"""The atlas: the laws of every published architecture of torchvision, timm and transformers, traced, derived, verified.

`models` names and builds the architectures, `measure` makes a `Record` of one, `run` goes through all of them in
processes of their own, and `page` shows what came out.
"""
