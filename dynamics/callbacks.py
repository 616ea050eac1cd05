"""The ledger in the loops of others: Hugging Face Trainer, Lightning.  A plain loop and Accelerate need neither.

Nothing is imported before it is asked for: each function needs the package of its loop.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lawful.theory.extras import needed

from .ledger import Ledger
from .loggers import scalars

SAVED = "ledger.pt"  # beside a checkpoint


def _expect_options(where: str, options: Mapping[str, Any]) -> None:
    """Checks the names of options now, and not when training has begun.

    Raises:
        TypeError: for one that `Ledger` does not have, or that the loop itself gives.
    """
    known = [n for n in inspect.signature(Ledger).parameters if n not in ("model", "optimizer")]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}? it has" if near else "it has"
            raise TypeError(f"{where} has no option {name!r}; {hint} {', '.join(known)}")


def hugging_face(**options: Any) -> Any:
    """A callback for `transformers.Trainer`; its attribute `ledger` is there once training has begun.

    The account is saved in every checkpoint, goes on from there with `resume_from_checkpoint`, and the largest
    remainder is added to what the Trainer logs, as `laws/remainder`.

    Args:
        **options: those of `Ledger`, for example `laws` or `every`.

    Raises:
        TypeError: for an option that `Ledger` does not have.
        ImportError: without transformers; says how to install it.
    """
    _expect_options("hugging_face", options)
    with needed("this callback", "transformers", "loops"):
        from transformers import TrainerCallback

    class LedgerCallback(TrainerCallback):
        """Watches laws in a Trainer."""

        ledger: Ledger | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.ledger = Ledger(kwargs["model"], kwargs["optimizer"], **options)
            saved = Path(args.output_dir) / f"checkpoint-{state.global_step}" / SAVED
            if state.global_step and saved.exists():
                self.ledger.load_state_dict(torch.load(saved, weights_only=True))

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            if logs is not None and self.ledger is not None and self.ledger.laws:
                for place in (logs, *state.log_history[-1:]):
                    place["laws/remainder"] = max(row.relative for row in self.ledger.rows())

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            if self.ledger is not None and state.is_world_process_zero and folder.exists():
                torch.save(self.ledger.state_dict(), folder / SAVED)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.ledger is not None:
                self.ledger.close()

    return LedgerCallback()


def _network(module: nn.Module) -> nn.Module:
    """What a Lightning module trains: the part that holds all of its parameters, where there is one.

    `training_step` may call this part and never the module itself, and a derivation of the module would run into
    everything that Lightning attaches to it.
    """
    parts = [part for part in module.children() if any(True for _ in part.parameters())]
    alone = len(parts) == 1 and not any(True for _ in module.parameters(recurse=False))
    return parts[0] if alone else module


def lightning(**options: Any) -> Any:
    """A callback for `lightning.Trainer`; its attribute `ledger` is there once training has begun.

    The account is saved in every checkpoint and goes on from there; every step logs `laws/<name>`, the part of its size
    that a law has moved by.

    Args:
        **options: those of `Ledger`, for example `laws` or `every`.

    Raises:
        TypeError: for an option that `Ledger` does not have.
        ImportError: without lightning; says how to install it.
    """
    _expect_options("lightning", options)
    with needed("this callback", "lightning", "loops"):
        from lightning.pytorch.callbacks import Callback

    class LedgerCallback(Callback):
        """Watches laws in a Lightning Trainer."""

        ledger: Ledger | None = None
        _saved: dict[str, Any] | None = None

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.ledger = Ledger(_network(pl_module), trainer.optimizers, **options)
            if self._saved is not None:
                self.ledger.load_state_dict(self._saved)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if self.ledger is not None and self.ledger.laws:
                pl_module.log_dict(scalars(self.ledger))

        def state_dict(self) -> dict[str, Any]:
            return self.ledger.state_dict() if self.ledger is not None else {}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self._saved = state_dict or None

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            if self.ledger is not None:
                self.ledger.close()

    return LedgerCallback()
