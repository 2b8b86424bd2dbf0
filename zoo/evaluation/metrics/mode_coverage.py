"""``mode_coverage``: of data with modes, such as 8gaussians, the share that samples reach."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.evaluation.context import Context
from zoo.evaluation.metrics import Value, metric

REACH = 3.0  # standard deviations
DUE = 1 / 8  # of a mode's equal part of the samples


def near(context: Context) -> tuple[Tensor, Tensor]:
    """For each sample, its nearest mode ``(n,)`` and whether it lies within 3 standard deviations of it."""
    assert context.modes is not None
    centres, deviation = context.modes
    distance, nearest = torch.cdist(context.samples.double().flatten(1), centres.double()).min(1)
    return nearest, distance < REACH * deviation


@metric("mode_coverage", direction="higher", needs=("samples", "modes"))
def mode_coverage(context: Context) -> Value:
    """Share of the modes near which (3 standard deviations) an eighth of their equal part of samples lies."""
    assert context.modes is not None
    nearest, close = near(context)
    modes = len(context.modes[0])
    counts = torch.bincount(nearest[close], minlength=modes)
    hit = int((counts >= DUE * len(nearest) / modes).sum())
    return Value(hit / modes, n=len(nearest), details={"modes": modes, "hit": hit})
