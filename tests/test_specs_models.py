"""Specs that name torch modules: published models, types of transformers, modules in files of the user's own."""

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful import cli
from lawful.atlas import hugging, models
from lawful.atlas.built import NotBuilt
from lawful.atlas.tiny import OWN, small_config, tiny_rule
from lawful.graph.architecture.origin import OpaqueOp

USER_FILE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x, scale=None):
        x = self.fc2(torch.relu(self.fc1(x)))
        return x if scale is None else x * scale

def net():
    return Net(), (torch.randn(2, 3),)

def listed():
    return [Net(), [torch.randn(2, 3)]]

def named():
    return Net(), (torch.randn(2, 3),), {"scale": 2.0}

def bare():
    return Net()

def wrong():
    return Net(), 3

def alone():
    return (Net(),)

def other():
    return 3, 4
"""
OPAQUE = OpaqueOp("fft_1", "aten.fft_rfft", "mixer", "FNet", "net.py:7: x = fft(x)", "no rule is known for it", 12)


def traced(module: torch.nn.Module, *args: torch.Tensor, **kwargs: object) -> lw.Architecture:
    """What tracing a perceptron gives, with one finding."""
    arch = lw.Architecture(b.chain(fc1=b.Linear(3, 4), act=b.ReLU(), fc2=b.Linear(4, 2)))
    arch.trace = SimpleNamespace(  # type: ignore[assignment]
        opaque=(OPAQUE,),
        narrow=(),
        behind=(),
        branches=False,
        aliases={"tied": "fc1.weight"},
        unused=("extra",),
        comparison=None,
        training=False,
        notes=(f"called with {len(args)} and {sorted(kwargs)}",),
        limits=(),
        axes=(),
        copied=(),
        outputs=(),
        seconds={"export": 0.5},
    )
    return arch


class Refused(ValueError):
    """Stands for `TraceError`."""


@pytest.fixture
def lawful_untouched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in a folder with a file of networks."""
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(USER_FILE)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lawful", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return run


@pytest.fixture
def lawful(lawful_untouched: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """The same with tracing replaced."""
    monkeypatch.setattr("lawful.graph.tracing.trace", traced)
    monkeypatch.setattr("lawful.graph.tracing.TraceError", Refused)
    return lawful_untouched


@pytest.mark.parametrize(
    ("function", "call"), [("net", "1 and []"), ("listed", "1 and []"), ("named", "1 and ['scale']")]
)
def test_a_module_in_a_file(lawful: Callable, function: str, call: str) -> None:
    code, out, err = lawful("derive", f"nets.py:{function}")
    assert (code, err) == (0, "") and "4 scalar laws in 1 family" in out and f"called with {call}" in out


@pytest.mark.parametrize("command", ["derive", "verify", "count", "check"])
def test_every_command_tells_what_tracing_found(lawful: Callable, command: str) -> None:
    code, out, _ = lawful(command, "nets.py:net")
    assert code == 0
    out = " ".join(out.split())  # lines are folded to the width of the terminal
    assert "traced with 1 opaque operation: laws that reach through them are missing" in out
    assert "aten.fft_rfft in mixer (FNet)" in out and "net.py:7: x = fft(x)" in out and "hides 12" in out
    assert "parameters that the output does not depend on: extra" in out
    found = json.loads(lawful(command, "nets.py:net", "--json")[1])["trace"]
    assert found["opaque"] == [
        {"node": "fft_1", "op": "aten.fft_rfft", "module": "mixer", "type": "FNet", "line": OPAQUE.line, "hides": 12}
    ]
    assert found["aliases"] == {"tied": "fc1.weight"} and found["comparison"] is None


def test_a_composed_network_says_nothing_of_tracing(lawful: Callable) -> None:
    assert "traced" not in lawful("derive", "family:mlp:widths=3,4,2")[1]
    assert "trace" not in json.loads(lawful("derive", "family:mlp:widths=3,4,2", "--json")[1])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nets.py:bare", "nets.py:bare returns a Net without inputs; write a function that returns (module, (x,))"),
        (
            "nets.py:wrong",
            "nets.py:wrong returns a module with int; return (module, (x,))",
        ),
        ("nets.py:alone", "returns a module with nothing"),
        ("nets.py:other", "nets.py:other returns a tuple; return an Architecture, an expression of blocks, or (mod"),
        ("torchvision:", "torchvision has no model ''"),
        ("torchvision:resnet19", "torchvision has no model 'resnet19'; did you mean resnet1"),
        ("timm:resnet_50", "timm has no model 'resnet_50'; did you mean resnet"),
        ("hf:gtp2", "transformers has no model type 'gtp2', and no folder of this name holds a config.json"),
    ],
)
def test_bad_specs(lawful: Callable, spec: str, message: str) -> None:
    if not spec.startswith("nets"):
        needs(*models.NEEDS[spec.split(":")[0]])
    code, out, err = lawful("derive", spec)
    assert (code, out) == (2, "") and err.count("\n") == 1 and message in err


def test_what_cannot_be_traced_is_bad_input(lawful: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise Refused("the forward depends on its data; use torch.where")

    monkeypatch.setattr("lawful.graph.tracing.trace", refuse)
    code, _, err = lawful("derive", "nets.py:net")
    assert (code, err) == (2, "lawful: nets.py:net: the forward depends on its data; use torch.where\n")


@pytest.mark.parametrize("source", [s for s in models.SOURCES if s != "ours"])  # a list of the atlas, no spec
def test_a_library_that_is_missing_is_named(lawful: Callable, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lawful.atlas.models.importlib.util.find_spec", lambda name: None)
    code, _, err = lawful("derive", f"{source}:x")
    assert code == 2 and "which is not installed; pip install 'lawful[models]'" in err


def test_no_other_source() -> None:
    with pytest.raises(NotBuilt, match="no source 'keras'; there are torchvision, timm, hf"):
        models.build("keras:vgg", full=True)


def needs(*libraries: str) -> None:
    """Skips a test without the libraries; importing them here would fail beside a torch that they do not fit."""
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")


def test_torchvision() -> None:
    needs("torchvision")
    assert len(models.names("torchvision:*")) == 80
    assert models.names("torchvision:resnet1*") == [f"torchvision:resnet{n}" for n in (101, 152, 18)]
    full = models.build("torchvision:resnet18", full=True)
    assert full.args[0].shape == (2, 3, 224, 224) and full.published and full.family == "resnet"
    assert next(full.module.parameters()).is_meta and full.scalars == 11_689_512 and not full.module.training
    small = models.build("torchvision:squeezenet1_1", full=False, training=True)
    assert small.args[0].shape == (2, 3, 64, 64) and not small.published and small.module.training
    assert small.module(*small.args).shape == (2, 1000)


def test_timm() -> None:
    needs("timm", "torchvision")
    assert "timm:vit_tiny_patch16_224" in models.names("timm:vit_tiny*")
    full = models.build("timm:vit_tiny_patch16_224", full=True)
    assert full.args[0].shape == (2, 3, 224, 224) and full.family == "vision_transformer"
    small = models.build("timm:vit_tiny_patch16_224", full=False)
    assert small.args[0].shape == (2, 3, 64, 64) and small.how == "image 64x64"
    assert small.module(*small.args).shape == (2, 1000)


@pytest.mark.parametrize(
    ("name", "reads", "shape", "loss"),
    [
        ("gpt2", {"input_ids": (2, 8)}, (2, 8, 96), "cross_entropy"),
        ("t5", {"input_ids": (2, 8), "decoder_input_ids": (2, 6)}, (2, 6, 96), "cross_entropy"),
        ("vit", {"pixel_values": (2, 3, 32, 32)}, (2, 2), "cross_entropy"),
        ("mixtral", {"input_ids": (2, 8)}, (2, 8, 96), "cross_entropy"),
        ("whisper", {"input_features": (2, 16, 32), "decoder_input_ids": (2, 6)}, (2, 6, 96), "cross_entropy"),
        ("qwen2_vl_text", {"input_ids": (2, 8)}, (2, 8, 64), "mse"),
        ("videomae", {"pixel_values": (2, 16, 3, 32, 32)}, (2, 128, 64), "mse"),
    ],
)
def test_a_tiny_model_of_every_kind(name: str, reads: dict, shape: tuple[int, ...], loss: str) -> None:
    needs("transformers")
    built = models.build(f"hf:{name}", full=False)
    assert {k: tuple(v.shape) for k, v in built.kwargs.items()} == reads and built.loss == loss
    assert built.scalars < 1_000_000 and not built.published and built.family == name
    out = built.module(**built.kwargs)
    assert isinstance(out, torch.Tensor) and out.shape == shape
    # The names are those of the model itself, and so is its class.
    own = type(built.module).__mro__[1]
    assert own.__name__ == type(built.module).__name__ and own.__module__.startswith("transformers.")


def test_experts_do_not_loop_over_the_data() -> None:
    needs("transformers")
    config = models.build("hf:mixtral", full=False).module.config
    assert config._experts_implementation == "batched_mm"
    assert models.build("hf:llama", full=False, attention="eager").module.config._attn_implementation == "eager"


def test_a_folder_with_a_configuration(tmp_path: Path) -> None:
    needs("transformers")
    module = models.build("hf:gpt2", full=False).module
    module.config.save_pretrained(tmp_path)
    built = models.build(f"hf:{tmp_path}", full=True)
    assert next(built.module.parameters()).is_meta and built.published
    assert [n for n, _ in built.module.named_parameters()] == [n for n, _ in module.named_parameters()]
    default = models.build("hf:gpt2", full=True)
    assert default.scalars == 124_439_808 and next(default.module.parameters()).is_meta


def test_why_a_type_is_not_built() -> None:
    needs("transformers")
    with pytest.raises(NotBuilt, match="backbone is not set"):
        models.build("hf:detr", full=False)
    assert set(hugging.LISTED) <= set(hugging.types()) and len(set(hugging.types())) == len(hugging.types()) > 500


@dataclasses.dataclass
class Config:
    """A configuration as transformers writes them."""

    model_type: str = "mamba2"
    hidden_size: int = 4096
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    depths: tuple[int, ...] = (2, 2, 6)
    embed_dims: tuple[int, ...] = (64, 128, 320)
    image_size: int = 224
    num_channels: int = 3
    pad_token_id: int | None = 50_000
    head_dim: int | None = None
    tie: bool = True
    num_heads: int = 128
    unknown: float = 0.5

    def to_diff_dict(self) -> dict[str, object]:
        return dataclasses.asdict(self)

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)


def test_a_tiny_configuration() -> None:
    small = small_config(Config, tiny_rule)
    assert (small.hidden_size, small.num_attention_heads, small.num_key_value_heads, small.head_dim) == (64, 4, 2, 16)
    assert (list(small.depths), list(small.embed_dims)) == ([1, 1, 1], [8, 16, 40])
    assert (small.image_size, small.num_channels, small.pad_token_id) == (32, 3, 0)
    assert small.num_heads == OWN["mamba2"]["num_heads"]
    assert small.tie is True and small.unknown == 0.5


def test_traced_for_real(lawful_untouched: Callable) -> None:
    code, out, err = lawful_untouched("verify", "nets.py:net", "--json")
    data = json.loads(out)
    assert (code, err) == (0, "") and data["verdict"] == "holds"
    assert data["derived"]["laws"][0]["parameters"] == ["fc1.weight", "fc1.bias", "fc2.weight"]
    assert data["trace"]["opaque"] == [] and data["trace"]["comparison"]["outputs"] < 1e-9


def test_a_published_model_for_real(lawful_untouched: Callable) -> None:
    needs("torchvision")
    code, out, _ = lawful_untouched("derive", "torchvision:alexnet", "--loss", "cross_entropy")
    assert code == 0 and "traced: every operation is understood" in out
    assert "has no weights, so the traced network was not compared" in out
