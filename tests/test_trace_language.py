"""Tracing published language models: low-rank updates, sparse mixtures of experts, state-space models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.atlas.stubs import declare_torchvision
from lawful.theory.verdict import Verdict

declare_torchvision()
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # peft reads what transformers is about to drop

GOOD = {Verdict.HOLDS, Verdict.APPROXIMATE}
TOKENS = torch.randint(0, 11, (2, 5), generator=torch.Generator().manual_seed(0))
SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 11,
    "max_position_embeddings": 16,
    "use_cache": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


def lawful_model(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[lw.Architecture, lw.LawSet]:
    """The architecture and laws of a model without opaque blocks, which the model itself must obey."""
    arch = lw.trace(module, *args, **kwargs)
    assert not arch.trace.opaque, arch.trace.summary
    laws = lw.derive(arch)
    report = lw.verify(module, laws, args=args, kwargs=kwargs)
    assert {r.verdict for r in report.laws} <= GOOD, report
    return arch, laws


def mixtral(**options: Any) -> Any:
    """A tiny Mixtral."""
    config = transformers.MixtralConfig(
        **SMALL, intermediate_size=6, num_local_experts=4, experts_implementation="batched_mm", **options
    )
    return transformers.MixtralForCausalLM(config)


def qwen(kind: str, **options: Any) -> Any:
    """A tiny Qwen with experts."""
    config = getattr(transformers, f"{kind}Config")(
        **SMALL,
        intermediate_size=12,
        moe_intermediate_size=6,
        num_experts=4,
        num_experts_per_tok=2,
        experts_implementation="batched_mm",
        **options,
    )
    return getattr(transformers, f"{kind}ForCausalLM")(config)


MIXTURES: dict[str, Callable[[], Any]] = {
    "mixtral": mixtral,
    "qwen2": lambda: qwen("Qwen2Moe", shared_expert_intermediate_size=6),
    "qwen3": lambda: qwen("Qwen3Moe", head_dim=4, norm_topk_prob=True),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_sparse_mixtures_of_experts(name: str) -> None:
    torch.manual_seed(0)
    module = MIXTURES[name]().eval()
    _, laws = lawful_model(module, input_ids=TOKENS)
    prefix = "model.layers.0.mlp"
    experts = [law for law in laws if any(f"{prefix}.experts.down_proj" in n for n in law.parameters)]
    hidden = [law for law in experts if any("gate_up_proj" in n for n in law.parameters)]
    assert sum(law.count for law in hidden) == 4 * 6  # what writes every hidden unit against what reads it
    router = [law for law in laws if law.kind == "shift" and any(f"{prefix}.gate" in n for n in law.parameters)]
    assert sum(law.count for law in router) == 16  # column sums


def test_a_mixture_of_experts_on_the_meta_device() -> None:
    with torch.device("meta"):
        module = mixtral().eval()
        arch = lw.trace(module, input_ids=TOKENS.to("meta"))
    assert not arch.trace.opaque
    torch.manual_seed(0)
    assert lw.derive(arch).independent == lw.derive(lw.trace(mixtral().eval(), input_ids=TOKENS)).independent


def test_mamba() -> None:
    torch.manual_seed(0)
    config = transformers.MambaConfig(
        hidden_size=8, state_size=4, num_hidden_layers=1, vocab_size=11, use_cache=False, pad_token_id=0
    )
    arch, laws = lawful_model(transformers.MambaForCausalLM(config).eval(), input_ids=TOKENS)
    assert [n for n in arch.nodes if type(arch.block(n)).__name__ == "SelectiveScan"] == [
        "backbone.layers.0.mixer.scan"
    ]
    names = {n.removeprefix("backbone.layers.0.mixer.") for law in laws for n in law.parameters}
    assert {"in_proj.weight", "conv1d.weight", "x_proj.weight", "D", "out_proj.weight"} <= names


def test_the_oracle_counts_the_laws_of_a_mamba_block() -> None:
    modeling = pytest.importorskip("transformers.models.mamba.modeling_mamba")

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = transformers.MambaConfig(
                hidden_size=2, expand=1, state_size=2, conv_kernel=2, time_step_rank=1, use_cache=False
            )
            self.mixer = modeling.MambaMixer(config, 0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.mixer(x)
            return out

    torch.manual_seed(0)
    module, x = Block().eval(), torch.randn(2, 3, 2)
    _, laws = lawful_model(module, x)
    assert lw.count(module, args=(x,), known=None).laws == laws.independent == 6


def test_mamba2() -> None:
    torch.manual_seed(0)
    config = transformers.Mamba2Config(
        hidden_size=8,
        state_size=4,
        num_hidden_layers=1,
        vocab_size=11,
        use_cache=False,
        num_heads=4,
        head_dim=4,
        n_groups=1,
        chunk_size=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    _, laws = lawful_model(transformers.Mamba2ForCausalLM(config).eval(), input_ids=TOKENS)
    mixer = "backbone.layers.0.mixer"
    by: Counter[frozenset[str]] = Counter()
    for law in laws:
        by[frozenset(law.parameters)] += law.count
    assert by[frozenset({f"{mixer}.in_proj.weight", f"{mixer}.conv1d.weight"})] == 24
    assert by[frozenset({f"{mixer}.norm.weight", f"{mixer}.out_proj.weight"})] == 16
    assert "backbone.embeddings.weight" in {n for law in laws for n in law.parameters}


class Perceptron(nn.Module):
    """Two maps with a ReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.second(torch.relu(self.first(x)))
        return out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"target_modules": ["first", "second"], "r": 2}, 6),
        ({"target_modules": ["first"], "r": 1, "modules_to_save": ["second"]}, 1),
        ({"target_modules": ["first"], "r": 2, "bias": "all"}, 3),
    ],
)
def test_the_oracle_counts_the_laws_of_low_rank_updates(options: dict[str, Any], expected: int) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    module, x = peft.get_peft_model(Perceptron(), peft.LoraConfig(**options)), torch.randn(4, 2)
    arch, laws = lawful_model(module, x)
    assert lw.count(module, args=(x,), known=None).laws == laws.independent == expected
    frozen = {n for n, p in arch.parameters.items() if p.frozen}
    assert frozen and frozen <= {n for n, p in module.named_parameters() if not p.requires_grad}
    assert not frozen & {n for law in laws for n in law.parameters}


def test_low_rank_updates_of_language_models() -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    base = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, intermediate_size=12))
    module = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules="all-linear", lora_dropout=0.1))
    _, laws = lawful_model(module.train(), input_ids=TOKENS)
    assert laws.independent == 7 * 3
    assert all("lora_" in n for law in laws for n in law.parameters)
    config = transformers.GPT2Config(
        n_embd=8, n_layer=1, n_head=2, vocab_size=11, n_positions=6, bos_token_id=0, eos_token_id=1, use_cache=False
    )
    adapter = peft.LoraConfig(r=2, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)
    module = peft.get_peft_model(transformers.GPT2LMHeadModel(config), adapter)
    _, laws = lawful_model(module.eval(), input_ids=TOKENS)
    # three maps with 3 each; what the stream's norms do not see of the two that write to it, 2 each
    assert laws.independent == 3 * 3 + 2 * 2
