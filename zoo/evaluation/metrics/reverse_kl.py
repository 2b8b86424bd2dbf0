"""``reverse_kl``: how unevenly the samples near modes are spread over them."""

from __future__ import annotations

import torch

from zoo.errors import ZooError
from zoo.evaluation.base import Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import metric
from zoo.evaluation.metrics.mode_coverage import ModeCoverage


@metric("reverse_kl", unit="nats", direction="lower", needs=("samples", "modes"))
def reverse_kl(context: Context) -> Value:
    """KL(shares of samples near each of K modes || 1/K), which is ln K less the shares' entropy.

    Near is within 3 standard deviations; other samples are left out. It is the "reverse KL" that PacGAN (Lin
    et al. 2018) reports, by our reading: their program logs the entropy.
    """
    assert context.modes is not None
    found = ModeCoverage(*context.modes)
    found.update(context.samples)
    counts = found.counts.double()
    if counts.sum() == 0:
        raise ZooError("No sample lies within 3 standard deviations of a mode.")
    shares = counts / counts.sum()
    return Value(float(torch.special.xlogy(shares, shares * len(shares)).sum()), n=int(counts.sum()))
