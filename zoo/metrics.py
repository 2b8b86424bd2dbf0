"""The protocol's metrics for use anywhere: each is a :class:`torchmetrics.Metric`.

They work in any LightningModule, in a :class:`torchmetrics.MetricCollection` and over several processes, and
the protocol itself uses them. Image metrics take ``update(images, real=True)`` and ``update(images,
real=False)``, as torchmetrics' FID does; :class:`~zoo.evaluation.base.FeatureMetric` describes the format
of images. Beside these metrics a record has diagnostics that a model computes of itself (``rate``, the error
of an inverse, ...), which rank no models.

>>> import torch, zoo.metrics
>>> from torchmetrics import MetricCollection
>>> judge = MetricCollection([zoo.metrics.FrechetDistance("digits-cnn"), zoo.metrics.Recall("digits-cnn")])
>>> images = torch.randint(17, (100, 1, 8, 8), generator=torch.Generator().manual_seed(0))
>>> judge.update(images[:50], real=True)
>>> judge.update(images[50:], real=False)
>>> sorted(judge.compute())
['FrechetDistance', 'Recall']
"""

from __future__ import annotations

from zoo.evaluation.base import Value
from zoo.evaluation.metrics.bits_per_dim import BitsPerDim
from zoo.evaluation.metrics.coverage import Coverage
from zoo.evaluation.metrics.density import Density
from zoo.evaluation.metrics.elbo import EvidenceLowerBound
from zoo.evaluation.metrics.energy_distance import EnergyDistance
from zoo.evaluation.metrics.frechet import ExtrapolatedFrechetDistance, FrechetDistance
from zoo.evaluation.metrics.kid import KernelDistance
from zoo.evaluation.metrics.kl_to_prior import KLToPrior
from zoo.evaluation.metrics.memorisation import Memorisation
from zoo.evaluation.metrics.mode_coverage import ModeCoverage
from zoo.evaluation.metrics.mode_quality import ModeQuality
from zoo.evaluation.metrics.modes_captured import ModesCaptured
from zoo.evaluation.metrics.negative_log_likelihood import NegativeLogLikelihood
from zoo.evaluation.metrics.normalised_path_energy import NormalisedPathEnergy
from zoo.evaluation.metrics.precision import Precision
from zoo.evaluation.metrics.recall import Recall
from zoo.evaluation.metrics.reconstruction import Reconstruction
from zoo.evaluation.metrics.reverse_kl import ReverseKL
from zoo.evaluation.metrics.sharpness import Sharpness
from zoo.evaluation.metrics.wasserstein2 import Wasserstein2

__all__ = [
    "BitsPerDim",
    "Coverage",
    "Density",
    "EnergyDistance",
    "EvidenceLowerBound",
    "ExtrapolatedFrechetDistance",
    "FrechetDistance",
    "KLToPrior",
    "KernelDistance",
    "Memorisation",
    "ModeCoverage",
    "ModeQuality",
    "ModesCaptured",
    "NegativeLogLikelihood",
    "NormalisedPathEnergy",
    "Precision",
    "Recall",
    "Reconstruction",
    "ReverseKL",
    "Sharpness",
    "Value",
    "Wasserstein2",
]
