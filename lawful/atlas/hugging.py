"""Builds the text and vision models of transformers, from a tiny configuration or at the default size."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Iterator, Mapping
from functools import cache, wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from .built import BATCH, Built, NotBuilt, awaken, listed, said
from .stubs import declare_torchvision
from .tiny import RULES, SIDE, Rule, counted_rule, small_config
from .vision import quiet

LISTED = (
    *("gpt2", "llama", "bert", "vit", "resnet", "t5", "qwen3", "mixtral", "gpt_neox", "gemma3_text", "whisper"),
    *("mamba", "mamba2"),
)
HEADS = {  # auto-class: the loss of its first output
    "AutoModelForSpeechSeq2Seq": "cross_entropy",
    "AutoModelForSeq2SeqLM": "cross_entropy",
    "AutoModelForMaskedLM": "cross_entropy",
    "AutoModelForCausalLM": "cross_entropy",
    "AutoModelForImageClassification": "cross_entropy",
    "AutoModelForSequenceClassification": "cross_entropy",
    "AutoModel": "mse",
}
FOREIGN = ("AUDIO", "CTC", "XVECTOR", "WAVEFORM", "SPECTROGRAM", "TIME_SERIES", "RNNT", "TDT")
TOKENS, ANSWERS = 8, 6  # lengths of what encoder and decoder read, where they have as many positions
POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length")
LARGEST = 80_000_000  # parameters of a model that is made with weights
COUNTED = 2500  # parameters of an instance that is counted in minutes


@cache
def types() -> tuple[str, ...]:
    """Transformers' model types that read or write text or see images, those of `LISTED` first."""
    auto = _transformers().models.auto.modeling_auto
    tables = {n: getattr(auto, n) for n in dir(auto) if n.endswith("_NAMES") and n.startswith("MODEL_")}
    heads = ("CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "SEQUENCE_CLASSIFICATION", "IMAGE_CLASSIFICATION")
    wanted = {t for n in heads for t in tables[f"MODEL_FOR_{n}_MAPPING_NAMES"]}
    foreign = {t for n, table in tables.items() if any(word in n for word in FOREIGN) for t in table}
    wanted |= set(tables["MODEL_MAPPING_NAMES"]) - foreign
    return (*LISTED, *sorted(wanted - set(LISTED)))


def hugging_model(
    name: str,
    full: bool = False,
    training: bool = False,
    attention: str | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Built:
    """A model of transformers by its type, with its first head of `HEADS`.

    Args:
        name: the model type, or a folder that holds a `config.json`; its weights do not matter for the laws.
        full: the default sizes of its configuration, on the meta device; else a tiny configuration with weights.
        training: the mode.
        attention: `"eager"` or `"sdpa"`; None lets the model choose.
        options: attributes of its configuration; a small instance with options is what they make of it.

    Raises:
        NotBuilt: if there is no such type, or no tiny configuration of it can be made and run.
    """
    if full or options or (Path(name) / "config.json").is_file():
        return _at_full_size(_configuration(name, options), training, attention)
    _expect_type(name)
    with quiet():
        return _tiny(name, training, attention)


def counted_model(name: str, training: bool, options: Mapping[str, Any]) -> Built:
    """An instance that brute force can count, from the configuration of a type or a folder.

    Raises:
        NotBuilt: as `hugging_model`, and if it has more than `COUNTED` parameters even so.
    """
    with quiet():
        found = _made(_configuration(name, options), {"counted": counted_rule}, training, None, name)
    if found.scalars > COUNTED:
        raise NotBuilt(
            f"its smallest instance has {found.scalars:,} parameters; hf:{name}:OPTION=VALUE makes it smaller, with "
            "attributes of its configuration"
        )
    return found


def _configuration(name: str, options: Mapping[str, Any]) -> Any:
    """The configuration of a folder, or the default one of a type, with some attributes changed."""
    transformers = _transformers()
    with quiet():
        if (Path(name) / "config.json").is_file():
            config = transformers.AutoConfig.from_pretrained(name, local_files_only=True)
        else:
            _expect_type(name)
            config = transformers.CONFIG_MAPPING[name]()
        known = {k for k in (*config.to_dict(), *config.attribute_map) if not k.startswith("_")}
        for key in options:
            if key not in known:
                near = listed(difflib.get_close_matches(key, sorted(known), 4, 0.5) or sorted(known), 12)
                raise NotBuilt(f"the configuration has no option {key!r}; it has {near}")
        if not options:
            return config
        given = {config.attribute_map.get(k, k): v for k, v in options.items()}
        kept = {k: v for k, v in config.to_diff_dict().items() if k not in ("model_type", *given)}
        try:
            return type(config)(**kept, **given)
        except Exception as error:  # a foreign constructor raises what it likes
            raise NotBuilt(f"its configuration refuses these options ({said(error)}); choose others") from error


def _expect_type(name: str) -> None:
    known = _transformers().CONFIG_MAPPING
    if name not in known.keys():
        near = listed(difflib.get_close_matches(name, list(known.keys()), 4, 0.5))
        raise NotBuilt(
            f"transformers has no model type {name!r}, and no folder of this name holds a config.json; "
            f"the nearest types are {near}"
        )


def _transformers() -> Any:
    declare_torchvision()
    import transformers
    import transformers.models.auto.modeling_auto

    transformers.logging.set_verbosity_error()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    return transformers


def _at_full_size(config: Any, training: bool, attention: str | None) -> Built:
    with quiet():
        head, module = next(_modules(config, attention, "meta"))
    kwargs = next(iter(_inputs(module, module.config, "meta")))
    return Built(_first_output(module).train(training), (), kwargs, HEADS[head], family=config.model_type, how=head)


def _tiny(name: str, training: bool, attention: str | None) -> Built:
    """The first of the small configurations that can be made and run."""
    return _made(_transformers().CONFIG_MAPPING[name], RULES, training, attention, name)


def _made(default: Any, rules: Mapping[str, Rule], training: bool, attention: str | None, name: str) -> Built:
    """The module of the first rule whose configuration can be made and run."""
    reasons: list[str] = []
    for label, rule in rules.items():
        try:
            config = small_config(default, rule)
        except Exception as error:  # a foreign constructor raises what it likes
            reasons.append(f"no {label} configuration: {said(error)}")
            continue
        try:
            for head, module in _modules(config, attention, "cpu"):
                found, trouble = _running(module)
                if found is not None:
                    kwargs, axis = found
                    how = f"{label} {type(module).__name__}"
                    return Built(module.train(training), (), kwargs, HEADS[head], axis, False, name, how)
                reasons.append(f"{label} {head} does not run: {trouble}")
        except NotBuilt as error:
            reasons.append(f"{label}: {error}")
    raise NotBuilt(reasons[0])


def _running(module: torch.nn.Module) -> tuple[tuple[dict[str, torch.Tensor], int] | None, str]:
    """A call that the module accepts and the axis of its output's features, or why there is none."""
    trouble = "it reads neither text nor images"
    for i, kwargs in enumerate(_inputs(module, module.config, "cpu")):
        try:
            with torch.no_grad():
                out = awaken(_first_output(module).eval(), **kwargs)(**kwargs)
        except Exception as error:
            trouble = said(error) if i == 0 else trouble
            continue
        return (kwargs, 1 if out.ndim == 4 and out.shape[1] != out.shape[-1] else -1), ""
    return None, trouble


def _modules(config: Any, attention: str | None, device: str) -> Iterator[tuple[str, torch.nn.Module]]:
    """The model with every head that it has."""
    config.use_cache = False
    options = {"attn_implementation": attention} if attention else {}
    reason = ""
    for head in HEADS:
        auto = getattr(_transformers(), head)
        try:
            if type(config) not in auto._model_mapping:
                continue
            with torch.device("meta"):
                module = auto.from_config(config, **options)
            scalars = sum(p.numel() for p in module.parameters())
            if device == "cpu":
                if scalars > LARGEST:
                    raise NotBuilt(f"it has {scalars:,} parameters even so")
                module = auto.from_config(config, **options)
            if _has_experts(module):
                module.set_experts_implementation("batched_mm")
        except Exception as error:
            reason = reason or said(error)
            continue
        yield head, module
    raise NotBuilt(f"it cannot be made: {reason}" if reason else "it has no head that reads text or images")


def _has_experts(module: torch.nn.Module) -> bool:
    """Whether experts run in a loop over those that are chosen, which depends on the data, unless told otherwise."""
    can = getattr(module, "_can_set_experts_implementation", None)
    return bool(can and can())


def _first_output(module: torch.nn.Module) -> torch.nn.Module:
    """Makes a module give its first output only: the logits, or the features.

    Its class becomes one of the same name whose forward picks it, so that parameters keep their names.
    """
    kind = type(module)
    if getattr(kind, "picks_first_output", False):
        return module

    @wraps(kind.forward)
    def forward(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        out = kind.forward(self, *args, **kwargs)
        while isinstance(out, (Mapping, tuple, list)):
            out = out[0] if isinstance(out, (tuple, list)) else next(iter(out.values()))
        return out

    module.__class__ = type(kind.__name__, (kind,), {"forward": forward, "picks_first_output": True})
    return module


def _inputs(module: torch.nn.Module, config: Any, device: str) -> Iterator[dict[str, torch.Tensor]]:
    """Calls that the model may accept, the likeliest first."""
    reads = inspect.signature(module.forward).parameters
    words = _number(config, "vocab_size", 96)
    main = getattr(module, "main_input_name", "input_ids")

    room = min(_number(config, name, TOKENS) for name in POSITIONS)

    def tokens(length: int) -> torch.Tensor:
        ids = torch.randint(4, max(words, 5), (BATCH, min(length, room)))
        ids[0, 0] = max(words, 5) - 1  # fresh ids are drawn below the largest
        return ids.to(device)

    answer = {"decoder_input_ids": tokens(ANSWERS)} if getattr(config, "is_encoder_decoder", False) else {}
    answer = {k: v for k, v in answer.items() if k in reads}
    text = {"input_ids": tokens(TOKENS)} if "input_ids" in reads else {}
    sides = _number(config, "image_size", 2 * SIDE)
    image = torch.randn(BATCH, _number(config, "num_channels", 3), sides, sides, device=device)
    pixels = {"pixel_values": image} if "pixel_values" in reads else {}
    sound = {}
    if "input_features" in reads:
        frames = 2 * _number(config, "max_source_positions", 16)
        sound = {"input_features": torch.randn(BATCH, _number(config, "num_mel_bins", 16), frames, device=device)}
    video = {
        k: v.unsqueeze(1).expand(-1, _number(config, "num_frames", 2), -1, -1, -1).clone() for k, v in pixels.items()
    }
    named = {"input_ids": text, "pixel_values": pixels, "input_features": sound}.get(main, {})
    for call in (named, text, pixels, {**text, **pixels}, video, sound):
        if call:
            yield {**call, **answer}


def _number(config: Any, name: str, default: int) -> int:
    """A size from a configuration or one nested in it; the larger side of a pair."""
    for part in (config, getattr(config, "text_config", None), getattr(config, "vision_config", None)):
        value = getattr(part, name, None)
        if isinstance(value, (list, tuple)) and value:
            value = max(value)
        if isinstance(value, int) and value > 0:
            return value
    return default
