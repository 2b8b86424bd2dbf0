"""Names of runs and values at Weights & Biases."""

from __future__ import annotations

import re

BEST_LOSS = "val/best_loss"  # logged when a run ends; W&B sweeps minimise it
LONGEST_NAME = 128  # longest id that W&B takes; a tag may have half of it


def job_id(run_id: str) -> str:
    """Return a run's id at W&B. It is the same after every restart, so W&B has one run for one job.

    >>> job_id("maf-table:power-s0-1a2b")
    'maf-table_power-s0-1a2b'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", run_id)[-LONGEST_NAME:]
