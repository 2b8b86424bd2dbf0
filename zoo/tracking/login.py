"""The login state of Weights & Biases, from the environment. Imports neither wandb nor torch."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.errors import ZooError

MODES = ("online", "offline", "shared", "disabled")


def logged_in() -> bool:
    """Return whether there is a key for W&B."""
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    keys = netrc.read_text(encoding="utf-8", errors="replace") if netrc.exists() else ""
    return bool(os.environ.get("WANDB_API_KEY")) or "wandb" in keys


def wandb_mode() -> str:
    """Return the mode of W&B: ``online``, ``offline``, ``shared`` or ``disabled``.

    It is ``WANDB_MODE`` if that is set (``disabled`` also by ``WANDB_DISABLED=true``); otherwise ``online``
    if there is a key, else ``offline``.

    Raises:
        ZooError: ``WANDB_MODE`` has another value.
    """
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes", "on"):
        return "disabled"
    mode = os.environ.get("WANDB_MODE", "").lower()
    mode = {"dryrun": "offline", "run": "online"}.get(mode, mode)  # wandb's older names
    if mode and mode not in MODES:
        raise ZooError(f"WANDB_MODE must be {', '.join(MODES[:-1])} or {MODES[-1]}; got '{mode}'.")
    return mode or ("online" if logged_in() else "offline")


def from_environment(name: str) -> str | None:
    """Return ``WANDB_<NAME>``; None if it is not set, or empty."""
    return os.environ.get(f"WANDB_{name.upper()}") or None


def by_agent() -> bool:
    """Return whether ``wandb agent`` started this process; it then chooses the run's id and sweep."""
    return bool(os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID"))
