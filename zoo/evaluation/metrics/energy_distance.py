"""``energy_distance``: the energy distance between samples and test points."""

from __future__ import annotations

from zoo.evaluation import energy
from zoo.evaluation.base import TwoSampleMetric, Value
from zoo.evaluation.context import Context, subset
from zoo.evaluation.metrics import compare, metric


class EnergyDistance(TwoSampleMetric):
    r"""Energy distance of generated and real vectors, in the data's units (Székely & Rizzo 2013, eq. 1).

    .. math:: 2\,E|x - r| - E|x - x'| - E|r - r'|

    Each mean is over all pairs of different examples, so the estimate is unbiased: where the distributions
    agree it is around zero, and sometimes below. ``update`` takes batches ``(B, ...)``, which are flattened.

    >>> import torch
    >>> metric = EnergyDistance()
    >>> metric.update(torch.tensor([[0.0], [2.0]]), real=True)
    >>> metric.update(torch.tensor([[5.0], [7.0]]), real=False)
    >>> metric.compute()
    tensor(6., dtype=torch.float64)
    """

    higher_is_better = False

    def _estimate(self) -> Value:
        generated, real = self._sets()
        value, error = energy.energy_distance(generated, real)
        return Value(value, error, n=len(generated), details={"reference_n": len(real)})


@metric("energy_distance", unit="data units", needs=("samples", "points"))
def energy_distance(context: Context) -> Value:
    """Energy distance of samples and test points (Székely & Rizzo 2013), see :mod:`zoo.evaluation.energy`."""
    limit, seed = context.settings.pairwise_examples, context.settings.seed
    reference, samples = subset(context.examples("test"), limit, seed), context.samples[:limit]
    return compare(EnergyDistance(), samples, reference)


@metric("energy_distance/pixels", unit="bytes", needs=("samples", "pixels"), floor=None)
def energy_distance_of_pixels(context: Context) -> Value:
    """Energy distance of samples and test images as vectors of bytes: it needs no features, and sees no more
    than pixels do.
    """
    limit, seed = context.settings.pairwise_examples, context.settings.seed
    reference, samples = subset(context.pixels("test"), limit, seed), context.pixels("samples")[:limit]
    return compare(EnergyDistance(), samples.flatten(1), reference.flatten(1))
