"""Tiny configurations of transformers' models, by the names of their own attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

WIDTH, HEADS, VOCABULARY, SIDE, PATCH = 64, 4, 96, 32, 8

# The first pattern that matches a whole attribute name says what it becomes; only plain numbers are replaced, and never
# by more than they were.  Widths are HEADS times a head of 16, which rotary positions can halve.
SCALARS: tuple[tuple[str, int], ...] = (
    (r"(text_|vision_|encoder_|decoder_|backbone_)?(hidden_size|hidden_dim|embed_dim|embedding_dim)", WIDTH),
    (r"d_model|n_embd|dim|emb_dim|embedding_size|d_embed|projection_dim|pooler_hidden_size|embed_size", WIDTH),
    (r"output_hidden_size|out_hidden_size|word_embed_proj_dim|hidden_size_per_layer_input", WIDTH),
    (r"attention_hidden_size|qkv_channels|rnn_hidden_size|lru_width|decoder_hidden_size", WIDTH),
    (r"(num_)?(\w+_)?(key_value_heads|kv_heads)|multi_query_group_num|num_key_value_groups", 2),
    (r"(\w+_)?(num_attention_heads|num_heads|n_heads?|attention_heads)", HEADS),
    (r"(attention_|linear_key_|linear_value_|mamba_)?head_dim|d_kv|attention_head_size|kv_channels|d_head", 16),
    (r"(\w+_)?expert\w*_(intermediate_)?size|moe_intermediate_size|moe_ffn_hidden_size", 32),
    (r"(\w+_)?(intermediate_size|ffn_dim|ffn_hidden_size|d_ff|d_inner|ffn_size|mlp_dim|intermediate_dim)", 2 * WIDTH),
    (r"n_inner|inner_dim|ffn_embed_dim|block_ff_dim|feed_forward_size|filter_size|encoder_ffn|decoder_ffn", 2 * WIDTH),
    (r"(\w+_)?(num_hidden_layers|num_layers|n_layers?|hidden_layers)|(encoder|decoder)_layers|depth|num_blocks", 2),
    (r"num_hidden_groups|num_mem_blocks", 1),
    (r"(\w+_)?vocab_size(_\w+)?|vocabulary_size|n_vocab", VOCABULARY),
    (r"(\w+_)?(max_position_embeddings|max_positions|n_positions|n_ctx|max_seq_len|max_sequence_length)", 64),
    (r"max_source_positions", 16),
    (r"max_target_positions", 64),
    (r"num_(local_)?experts|n_routed_experts|moe_num_experts|num_routed_experts", HEADS),
    (r"num_experts_per_tok(en)?|num_selected_experts|moe_k|moe_topk|top_k_experts", 2),
    (r"n_group|topk_group|num_expert_group|n_shared_experts", 1),
    (r"first_k_dense_replace", 1),
    (r"q_lora_rank|kv_lora_rank", 16),
    (r"qk_nope_head_dim|v_head_dim|qk_rope_head_dim|index_head_dim|qk_head_dim", 16),
    (r"image_size|img_size|input_size", SIDE),
    (r"patch_size|spatial_patch_size", PATCH),
    (r"num_mel_bins", 16),
    (r"pad_token_id", 0),
    (r"(\w+_)?bos_token_id|cls_token_id|decoder_start_token_id", 1),
    (r"(\w+_)?eos_token_id|sep_token_id|forced_eos_token_id", 2),
    (r"\w+_token_(id|index)", 3),
    (r"(mamba_)?(d_state|state_size|ssm_state_size)", 8),
    (r"rotary_dim", 16),
    (r"time_step_rank|mamba_dt_rank", 4),
    (r"(mamba_)?(n_heads)|mamba_num_heads", 8),
    (r"(mamba_)?chunk_size", 4),
)
PATTERNS = tuple((re.compile(pattern), value) for pattern, value in SCALARS)
# Lists hold one number for each stage of a network, so they keep their lengths.
WIDTHS = re.compile(r"(\w+_)?(hidden_sizes|embed_dims?|dims|hidden_dims|widths)")
DEPTHS = re.compile(r"(\w+_)?(depths|layers|num_blocks|depth)")
LAYERS = re.compile(r"(\w+_)?(num_hidden_layers|num_layers|n_layers?)|(encoder|decoder)_layers")

SPATIAL = re.compile(r"glm4v|glm46|glm_(image|ocr)|glmga|qwen2_(5_)?(vl|omni)|paddleocr")
# What some types take for granted and leave open by default; every width above makes these fit.
OPEN = {"head_dim": 16, "num_key_value_heads": HEADS, "n_routed_experts": HEADS, "num_experts_per_tok": 2}
OWN: Mapping[str, Mapping[str, Any]] = {  # what a type demands of its own numbers
    "mamba2": {"num_heads": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "codegen": {"n_head": 4, "rotary_dim": 8},
    "xmod": {"default_language": "en_XX"},
    "efficientnet": {"width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640, "image_size": 64},
    "esm": {"vocab_size": VOCABULARY, "mask_token_id": 3, "pad_token_id": 0},
}

Rule = Callable[[str, Any, Mapping[str, Any]], Any]


def tiny_rule(name: str, value: Any, default: Mapping[str, Any]) -> Any:
    """What an attribute of a configuration becomes; None where it stays.

    Args:
        name: of the attribute.
        value: what it is by default.
        default: all attributes.
    """
    if value is None:
        return OPEN.get(name)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        found = next((small for pattern, small in PATTERNS if pattern.fullmatch(name)), None)
        if name == "num_key_value_heads" and value == default.get("num_attention_heads"):
            found = HEADS  # keys and queries have as many heads, which some types demand
        token = name.endswith(("_id", "_index"))
        return found if found is not None and (token or found < value) else None
    if isinstance(value, dict) and ("mrope_section" in value or _three_axes(name, default)):
        half = int(8 * (value.get("partial_rotary_factor") or default.get("partial_rotary_factor") or 1.0))
        return {**value, "mrope_section": [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]}
    if isinstance(value, (list, tuple)) and value and all(type(v) is int for v in value):
        return _stages(name, value)
    return None


def _three_axes(name: str, default: Mapping[str, Any]) -> bool:
    """Whether rotary positions run along time, height and width, by sections that only the model's code knows."""
    return name in ("rope_parameters", "rope_scaling") and bool(SPATIAL.match(str(default.get("model_type"))))


def _stages(name: str, value: Sequence[int]) -> list[int] | None:
    if DEPTHS.fullmatch(name):
        return [1 for _ in value]
    if WIDTHS.fullmatch(name):
        factor = next(f for f in (8, 4, 2, 1) if all(v % f == 0 and v >= 8 * f for v in value) or f == 1)
        return [v // factor for v in value]
    if name in ("image_size", "patch_size"):
        return [SIDE if name == "image_size" else PATCH for _ in value]
    return None


def deeper_rule(name: str, value: Any, default: Mapping[str, Any]) -> Any:
    """The tiny widths with four layers: where not every layer is of the same kind."""
    small = tiny_rule(name, value, default)
    return min(4, value) if small == 2 and LAYERS.fullmatch(name) else small


def shallow_rule(name: str, value: Any, default: Mapping[str, Any]) -> Any:
    """The default widths with two layers: for configurations whose numbers hang together."""
    return min(2, value) if isinstance(value, int) and LAYERS.fullmatch(name) else None


def default_rule(name: str, value: Any, default: Mapping[str, Any]) -> Any:
    """Nothing changes."""
    return None


RULES: Mapping[str, Rule] = {
    "tiny": tiny_rule,
    "tiny, four layers": deeper_rule,
    "shallow": shallow_rule,
    "default": default_rule,
}


COUNTED = {WIDTH: 8, 2 * WIDTH: 12, VOCABULARY: 7, SIDE: 16, PATCH: 8, 16: 4, HEADS: 2, 2: 1}
KEPT = re.compile(r"\w+_(id|index)|num_channels|patch_size|spatial_patch_size|num_mel_bins")
LENGTHS = re.compile(r"\w*(position|n_ctx|seq_len|sequence_length|source|target)\w*")


def counted_rule(name: str, value: Any, default: Mapping[str, Any]) -> Any:
    """Widths, heads and layers so small that brute force counts the laws in a minute."""
    small = tiny_rule(name, value, default)
    if name == "num_experts_per_tok" or KEPT.fullmatch(name):
        return small
    if LENGTHS.fullmatch(name) and isinstance(value, int):
        return None if value is None else min(16, value)
    if name == "num_key_value_heads" and small is None and value == default.get("num_attention_heads"):
        return COUNTED[HEADS]
    if isinstance(small, int) and not isinstance(small, bool):
        return COUNTED.get(small, 8 if small == 2 * SIDE // 2 and name.endswith("size") else small)
    return small


def small_config(default: Any, rule: Rule) -> Any:
    """A configuration with a rule applied to its attributes, and to those of what is nested in it.

    Args:
        default: a configuration, or a class of them, which stands for its default.
        rule: what an attribute becomes.
    """
    whole = isinstance(default, type)
    config_class = default if whole else type(default)
    default = default() if whole else default
    attributes = default.to_dict()
    nested = getattr(config_class, "sub_configs", {})
    changes: dict[str, Any] = {}
    for name, value in attributes.items():
        small = None if name.startswith("_") or name in nested else rule(name, value, attributes)
        if small is not None:
            changes[name] = small
    for name in nested:
        inner = getattr(default, name, None)
        if inner is not None and hasattr(inner, "to_dict"):
            changes[name] = small_config(type(inner) if whole else inner, rule)
    if rule in (tiny_rule, deeper_rule):
        changes.update(OWN.get(config_class.model_type, {}))
    given = {}
    if not whole:  # what the configuration says itself, beside the defaults of its class
        own = default.to_diff_dict().items()
        given = {k: v for k, v in own if k in attributes and type(v) in (bool, int, float, str) and k != "model_type"}
    return config_class(**{**given, **changes})
