"""``fid`` and ``fd/<extractor>``: the Fréchet distance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.evaluation import frechet
from zoo.evaluation.base import FeatureExtractor, FeatureMetric, Value
from zoo.evaluation.context import SAMPLES, Context
from zoo.evaluation.features import LARGE, Extractor
from zoo.evaluation.halves import ROUNDS
from zoo.evaluation.metrics import compare, metric

REMEDIES = {  # what to do if a set has too few images
    "generated": "Raise evaluation.samples.",
    "real": "These are the real ones: give more of them (of your own, data.test_fraction), or compare with "
    "evaluation.reference=train.",
}
FEW_ROUNDS = 10  # half-samples, where there are many features or no error is needed


class FrechetDistance(FeatureMetric):
    r"""Squared distance of Gaussians fitted to the features of generated and real images (Heusel et al.
    2017).

    .. math:: |m_x - m_r|^2 + \operatorname{tr}\big(C_x + C_r - 2 (C_x^{1/2} C_r C_x^{1/2})^{1/2}\big)

    with means m and unbiased covariances C. With Inception's published weights this is FID. Its states
    are sums, whose size does not grow with the number of images.

    Args:
        feature_extractor: see :class:`~zoo.evaluation.base.FeatureMetric`.
        dim: number of features; only needed if the extractor is not one of zoo's.
        kwargs: those of :class:`~zoo.evaluation.base.FeatureMetric`.

    Raises:
        ZooError: the number of features is unknown; by ``compute``: a set has at most as many images as
            features.

    >>> import torch
    >>> images = torch.randint(17, (200, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    >>> metric = FrechetDistance("digits-cnn")
    >>> metric.update(images[:100], real=True)
    >>> metric.update(images[100:], real=False)
    >>> round(metric.compute().item(), 2)  # both random: the bias of 100 images
    3.51
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    gathers = False

    def __init__(
        self, feature_extractor: FeatureExtractor = None, *, dim: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(feature_extractor, **kwargs)
        if isinstance(self.feature_extractor, Extractor):
            dim = self.feature_extractor.dim
        if dim is None:
            raise ZooError("The number of features is unknown; give it as dim=...")
        for name in ("real", "generated"):
            self.add_state(f"{name}_n", torch.tensor(0), dist_reduce_fx="sum")
            self.add_state(f"{name}_sum", torch.zeros(dim, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{name}_outer", torch.zeros(dim, dim, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool) -> None:
        """Add images ``(B, C, H, W)``, or features ``(B, D)`` where there is no extractor.

        Args:
            images: the batch.
            real: whether the images are real or generated.

        Raises:
            ZooError: the number of features is not ``dim``.
        """
        features, name = self._rows(images), "real" if real else "generated"
        old = self._moments(name)
        if features.shape[1] != len(old[1]):
            raise ZooError(f"A Fréchet distance of {len(old[1])} features was given {features.shape[1]}.")
        n, total, outer = frechet.moments(features)
        setattr(self, f"{name}_n", old[0] + n)
        setattr(self, f"{name}_sum", old[1] + total)
        setattr(self, f"{name}_outer", old[2] + outer)

    def _moments(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        return getattr(self, f"{name}_n"), getattr(self, f"{name}_sum"), getattr(self, f"{name}_outer")

    def _fit(self, name: str) -> tuple[Tensor, Tensor]:
        n, total, outer = self._moments(name)
        return frechet.statistics(int(n), total, outer, REMEDIES[name])

    def _estimate(self) -> Value:
        return Value(frechet.frechet_distance(*self._fit("generated"), *self._fit("real")))


class ExtrapolatedFrechetDistance(FeatureMetric):
    r"""Fréchet distance extrapolated to infinitely many images of both sets (Chong & Forsyth 2020).

    .. math:: 2 F - \overline{F}_{1/2}

    with F the :class:`FrechetDistance` and :math:`\overline{F}_{1/2}` its mean over half-samples of both
    sets. The bias of F is proportional to 1/n, so it cancels; the value may be a little below zero. All
    features are kept. Which of them are a half-sample depends on their values, not on their order.

    Args:
        feature_extractor: see :class:`~zoo.evaluation.base.FeatureMetric`.
        rounds: number of half-samples; one costs two covariances and two eigendecompositions.
        seed: seed of the half-samples.
        kwargs: those of :class:`~zoo.evaluation.base.FeatureMetric`.

    Raises:
        ZooError: by ``compute``: half of a set has at most as many images as features.

    >>> import torch
    >>> features = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    >>> metric = ExtrapolatedFrechetDistance()  # of features: there is no extractor
    >>> metric.update(features[:200], real=True)
    >>> metric.update(features[200:], real=False)
    >>> abs(metric.compute().item()) < 0.05
    True
    """

    higher_is_better = False

    def __init__(
        self,
        feature_extractor: FeatureExtractor = None,
        *,
        rounds: int = ROUNDS,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(feature_extractor, **kwargs)
        self.rounds, self.seed = rounds, seed

    def _estimate(self) -> Value:
        generated, real = self._sets()
        if min(len(generated), len(real)) // 2 <= generated.shape[1]:
            raise ZooError(too_few(generated.shape[1]))
        plain = FrechetDistance(dim=generated.shape[1], sync_on_compute=False)
        value = compare(plain, generated, real).value
        error, mean = frechet.by_halves(generated, real, seed=self.seed, rounds=self.rounds)
        details = {"frechet_distance": value, "half_samples": self.rounds}
        return Value(2 * value - mean, error, details=details)


@metric("fd", needs=("samples", "features", "reference"), split_again=True)
def frechet_distance(context: Context) -> Value:
    """Distance of Gaussians fitted to the features of samples and of the reference (Heusel et al. 2017).

    Its error is that of the draw of both sets, by half-samples.
    """
    return plain_and_extrapolated(context)[0]


@metric("fd_inf", needs=("samples", "features", "reference"), split_again=True)
def frechet_distance_of_infinitely_many(context: Context) -> Value:
    """The same distance extrapolated to infinitely many examples of both sets (Chong & Forsyth 2020).

    It has no bias that grows as the number of examples falls, so it may be a little below zero.
    """
    extrapolated = plain_and_extrapolated(context)[1]
    if extrapolated is None:
        raise ZooError(too_few(context.features(SAMPLES).shape[1]))
    return extrapolated


def too_few(dim: int) -> str:
    """Return the reason why sets of this many features cannot be halved."""
    return (
        f"An extrapolation halves both sets, and needs over {2 * dim} examples in each. Raise "
        "evaluation.samples, or compare on more data."
    )


def plain_and_extrapolated(context: Context) -> tuple[Value, Value | None]:
    """Return the Fréchet distance and its extrapolation; None for too few examples, then without errors."""
    return context.once(("fréchet", SAMPLES, "reference"), lambda: _plain_and_extrapolated(context))


def _plain_and_extrapolated(context: Context) -> tuple[Value, Value | None]:
    ours, reference = context.features(SAMPLES), context.features("reference")
    dim = ours.shape[1]
    if min(len(ours), len(reference)) // 2 <= dim:
        return compare(FrechetDistance(dim=dim), ours, reference), None
    rounds = FEW_ROUNDS if dim > LARGE or not context.errors else context.rounds
    if dim > LARGE and not context.errors:
        rounds = 2
    judge = ExtrapolatedFrechetDistance(rounds=rounds, seed=context.settings.seed)
    try:
        extrapolated = compare(judge, ours, reference)
    except ZooError:  # a half of nearly constant samples may be constant
        return compare(FrechetDistance(dim=dim), ours, reference), None
    value, error = extrapolated.details["frechet_distance"], extrapolated.standard_error
    details = {"half_samples": rounds}
    return Value(value, error, details=details), Value(extrapolated.value, error, details=details)
