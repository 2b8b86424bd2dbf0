"""``normalised_path_energy``: how far the paths of a continuous flow are from optimal transport."""

from __future__ import annotations

from typing import cast

from zoo.evaluation.base import Value
from zoo.evaluation.context import Context, subset
from zoo.evaluation.metrics import metric
from zoo.evaluation.transport import squared_wasserstein
from zoo.models.core import rng
from zoo.models.core.capabilities import HasPaths


@metric("normalised_path_energy", needs=("plane", "paths"))
def normalised_path_energy(context: Context) -> Value:
    """|E - W2^2| / W2^2 with the energy E of a flow's paths, E int |v|^2 dt (Tong et al. 2024, section 5).

    W2^2 is the exact squared 2-Wasserstein distance between the starts of the paths, drawn from the model's
    source, and as many test points: what the paths of optimal transport would cost. 0 is best.
    """
    model = cast(HasPaths, context.model)
    test = context.examples("test")
    count = min(context.settings.samples or 1000, len(test), context.settings.pairwise_examples)
    with rng.keyed(rng.keys(context.sample_seed, 1, count=count)):
        starts, energy = model.path_energy(count)
    least = squared_wasserstein(starts.cpu(), subset(test, count, context.settings.seed))
    mean = float(energy.double().mean())
    return Value(abs(mean - least) / least, n=count, details={"energy": mean, "squared_wasserstein": least})
