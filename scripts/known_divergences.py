"""Estimate the divergence from a known density anew, from the archived log-likelihoods of the test points.

Records that were made before zoo knew the densities have NLL - entropy, whose error is that of the
likelihood, up to ten times that of mean(log p - log q) at the same points. No model is needed. The metric
``kl`` of each record is replaced, and its details say so; nothing else in the record changes.

tar -xJf results/toys/records.tar.xz -C runs/toys && python scripts/known_divergences.py runs/toys
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.comparison.collect import Run, collect
from zoo.data.toys import Toy
from zoo.errors import ZooError
from zoo.evaluation.likelihood import divergence
from zoo.record import LIKELIHOOD, RECORD
from zoo.record.files import write_atomic

ANEW = "from the archived log-likelihoods (scripts/known_divergences.py); evaluated as NLL - entropy before"


def estimated_anew(run: Run) -> bool:
    """Replace a run's divergence in its record, and return whether there was one to replace.

    Raises:
        ZooError: the archived log-likelihoods are not those of the record's test points.
    """
    record = run.record
    metric, scores = record.metrics.get("kl"), run.arrays(LIKELIHOOD)
    if metric is None or metric.value is None or metric.direction == "none" or "estimator" in metric.details:
        return False
    settings = {k: v for k, v in record.provenance.config["data"].items() if k not in ("_target_", "root")}
    log_p, fingerprint = densities(tuple(sorted(settings.items())))
    known = record.provenance.data
    if scores is None or known is None or known.fingerprint != fingerprint:
        raise ZooError(
            f"{run.directory}: the data are no longer those of the record, or {LIKELIHOOD} is missing."
        )
    log_q = torch.from_numpy(scores["values"].astype(np.float64))
    nll = record.metrics["nll"].value
    if nll is None or not math.isclose(-log_q.mean().item(), nll, rel_tol=1e-5):
        raise ZooError(f"{run.directory}: {LIKELIHOOD} has another mean than the record's NLL.")
    kl = divergence(log_q, log_p[torch.from_numpy(scores["indices"].astype(np.int64))], known.entropy)
    raw = json.loads((run.directory / RECORD).read_text("utf-8"))  # as it is, whatever its schema
    raw["metrics"]["kl"] |= {"value": kl.value, "standard_error": kl.standard_error}
    raw["metrics"]["kl"]["details"] |= {**kl.details, "evaluated": ANEW}
    write_atomic(run.directory / RECORD, json.dumps(raw, indent=1, allow_nan=False) + "\n")
    return True


@cache
def densities(settings: tuple[tuple[str, Any], ...]) -> tuple[Tensor, str | None]:
    """Return log p of a toy's test points, ``(N,)``, and the fingerprint of its training points."""
    options: Mapping[str, Any] = dict(settings)
    toy = Toy(**options)
    toy.setup()
    return toy.log_density(toy.splits["test"]), toy.describe().fingerprint


if __name__ == "__main__":
    runs, _ = collect([Path(argument) for argument in sys.argv[1:]])
    print(f"{sum(map(estimated_anew, runs))} of {len(runs)} records have a new estimate of the divergence.")
