"""Reading a Llama of 70 billion parameters on the meta device, against the time of its export alone.

Goal: export, lowering and deriving together take at most 1.5 times as long as the export, in under 1 GB of memory.
"""

from __future__ import annotations

import resource
import sys
import time

import torch

import lawful as lw
from lawful.atlas.stubs import declare_torchvision
from lawful.theory.extras import how_to_install

GOAL, MEMORY = 1.5, 1000  # times the export; megabytes


def main() -> int:
    """Prints a line; 1 if the goal is missed."""
    declare_torchvision()
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError:
        print(f"transformers is not installed; {how_to_install('models')}")
        return 0
    config = LlamaConfig(
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        vocab_size=128256,
        use_cache=False,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config).eval()
        ids = torch.zeros(2, 16, dtype=torch.long)
    start = time.perf_counter()
    arch = lw.trace(model, ids)
    laws = lw.derive(arch)
    seconds = time.perf_counter() - start
    assert arch.trace is not None and not arch.trace.opaque
    ratio = seconds / arch.trace.seconds["export"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{laws.count:,} scalar laws of {sum(p.size for p in arch.parameters.values()):,} parameters")
    print(f"trace and derive: {ratio:.2f} times the export (goal {GOAL}), {memory} MB at most (goal {MEMORY})")
    return int(ratio > GOAL or memory > MEMORY)


if __name__ == "__main__":
    sys.exit(main())
