"""Each metric of ``zoo.metrics`` with all examples, and with one process's part of them."""

from __future__ import annotations

import pytest
import torch

import zoo.metrics
from zoo.errors import ZooError

CENTRES = torch.tensor([[0.0, 0.0], [3.0, 3.0], [-3.0, 3.0]])


def images(n, seed, high=256):
    return torch.randint(high, (n, 1, 6, 6), generator=torch.Generator().manual_seed(seed))


def pixels(x):
    """Return the first four pixels as features."""
    return x.flatten(1)[:, :4].double()


def two_sample(make, generated, real):
    metric = make()
    for part in real:
        metric.update(part, real=True)
    for part in generated:
        metric.update(part, real=False)
    return metric


def memorisation():
    metric = zoo.metrics.Memorisation(pixels)
    metric.update(images(30, 9), real=True, training=True)
    return metric


REAL, FAKE = images(24, 1), images(20, 2, high=200)
TWO_SAMPLE = {
    "FrechetDistance": lambda: zoo.metrics.FrechetDistance(pixels, dim=4),
    "ExtrapolatedFrechetDistance": lambda: zoo.metrics.ExtrapolatedFrechetDistance(pixels),
    "KernelDistance": lambda: zoo.metrics.KernelDistance(pixels),
    "Precision": lambda: zoo.metrics.Precision(pixels),
    "Recall": lambda: zoo.metrics.Recall(pixels),
    "Density": lambda: zoo.metrics.Density(pixels),
    "Coverage": lambda: zoo.metrics.Coverage(pixels),
    "EnergyDistance": zoo.metrics.EnergyDistance,
    "Sharpness": zoo.metrics.Sharpness,
    "Memorisation": memorisation,
}
# Metrics of as many generated as real examples.
PAIRED = {
    "Wasserstein2": zoo.metrics.Wasserstein2,
    "NormalisedPathEnergy": zoo.metrics.NormalisedPathEnergy,
}
POINTS = torch.randn(40, 2, generator=torch.Generator().manual_seed(3)) * 2
ONE_SAMPLE = {
    "ModeCoverage": (lambda: zoo.metrics.ModeCoverage(CENTRES, 0.5), POINTS),
    "ModeQuality": (lambda: zoo.metrics.ModeQuality(CENTRES, 0.5), POINTS),
    "ModesCaptured": (lambda: zoo.metrics.ModesCaptured(CENTRES, 0.5), POINTS),
    "ReverseKL": (lambda: zoo.metrics.ReverseKL(CENTRES, 1.0), POINTS),
    "EvidenceLowerBound": (zoo.metrics.EvidenceLowerBound, POINTS[:, 0], POINTS[:, 1]),
    "Reconstruction": (zoo.metrics.Reconstruction, POINTS[:, 0]),
    "KLToPrior": (zoo.metrics.KLToPrior, POINTS[:, 1]),
    "NegativeLogLikelihood": (zoo.metrics.NegativeLogLikelihood, POINTS[:, 0]),
    "BitsPerDim": (lambda: zoo.metrics.BitsPerDim(dim=7), POINTS[:, 0]),
}


def paired(name, rows=slice(None)):
    """Return a metric of points updated with the same rows of real and of generated ones."""
    metric = PAIRED[name]()
    metric.update(POINTS[:20][rows], real=True)
    energy = {"energy": POINTS[20:, 0][rows].square()} if name == "NormalisedPathEnergy" else {}
    metric.update(POINTS[20:][rows], real=False, **energy)
    return metric


def whole(name):
    """Return the metric updated with all examples."""
    if name in TWO_SAMPLE:
        return two_sample(TWO_SAMPLE[name], [FAKE], [REAL])
    if name in PAIRED:
        return paired(name)
    make, *values = ONE_SAMPLE[name]
    metric = make()
    metric.update(*values)
    return metric


def part(name, rank):
    """Return the metric with the examples of one of two processes; only rank 0 has generated ones."""
    if name in TWO_SAMPLE:
        metric = TWO_SAMPLE[name]()
        if name == "Memorisation" and rank == 1:
            metric.reset()  # only the first process has training examples
        for rows in REAL[rank::2].split(5):
            metric.update(rows, real=True)
        if rank == 0:
            for rows in FAKE.split(7):
                metric.update(rows, real=False)
        return metric
    if name in PAIRED:
        return paired(name, slice(rank, None, 2))
    make, *values = ONE_SAMPLE[name]
    metric = make()
    for batch in zip(*(x[rank::2].split(9) for x in values), strict=True):
        metric.update(*batch)
    return metric


NAMES = [*TWO_SAMPLE, *PAIRED, *ONE_SAMPLE]
CLOSE = 1e-12  # relative difference that the order of the examples may make to a metric's value


def measure_in_a_process(rank, port, results):
    """Put every metric's value, number of examples and error over both processes into a queue."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    result = {}
    for name in NAMES:
        metric = part(name, rank)
        result[name] = [metric.compute().item(), metric.estimate().n, metric.estimate().standard_error]
        metric.reset()
        with pytest.raises(ZooError):  # no process has an example
            metric.compute()
    results.put((rank, result))
    torch.distributed.destroy_process_group()
