"""What the environment says about Weights & Biases. Imports neither wandb nor torch."""

from __future__ import annotations

import os
from pathlib import Path


def logged_in() -> bool:
    """Whether a key for W&B is at hand."""
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return bool(os.environ.get("WANDB_API_KEY")) or (netrc.exists() and "wandb" in netrc.read_text())


def wandb_mode() -> str:
    """``online`` where the environment says so or a key is at hand, otherwise ``offline``."""
    return os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")


def by_agent() -> bool:
    """Whether ``wandb agent`` started this process, and so chose the run's id and the sweep it belongs to."""
    return bool(os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID"))
