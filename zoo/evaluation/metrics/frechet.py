"""``fid``, ``fd/<extractor>``: the Fréchet distance."""

from __future__ import annotations

from zoo.evaluation import frechet
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import Value, metric

BOOTSTRAP_DIM = 256  # with more features the bootstrap takes minutes


@metric("fd", needs=("samples", "features"))
def frechet_distance(context: Context) -> Value:
    """Distance of Gaussians fitted to the features of samples and of the test split (Heusel et al. 2017).

    Its error is that of the samples' draw, by bootstrap, where the features are at most 256.
    """
    ours, reference = context.features("samples"), context.features("test")
    value = frechet.between(ours, reference)
    if ours.shape[1] > BOOTSTRAP_DIM:
        return Value(value)
    return Value(value, frechet.bootstrap_error(ours, reference, seed=context.settings.seed))
