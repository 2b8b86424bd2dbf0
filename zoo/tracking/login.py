"""The login state of Weights & Biases, from the environment. Imports neither wandb nor torch."""

from __future__ import annotations

import os
from pathlib import Path


def logged_in() -> bool:
    """Return whether there is a key for W&B."""
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    keys = netrc.read_text(encoding="utf-8", errors="replace") if netrc.exists() else ""
    return bool(os.environ.get("WANDB_API_KEY")) or "wandb" in keys


def wandb_mode() -> str:
    """Return ``WANDB_MODE`` if it is set; otherwise ``online`` if there is a key, else ``offline``."""
    return os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")


def by_agent() -> bool:
    """Return whether ``wandb agent`` started this process; it then chooses the run's id and sweep."""
    return bool(os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID"))
