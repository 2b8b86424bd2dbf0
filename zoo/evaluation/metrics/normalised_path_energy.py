"""``normalised_path_energy``: how far the paths of a continuous flow are from optimal transport."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from zoo.evaluation.base import TwoSampleMetric, Value, joined
from zoo.evaluation.context import Context, subset
from zoo.evaluation.metrics import metric
from zoo.evaluation.transport import LARGEST, squared_wasserstein
from zoo.models.core import rng
from zoo.models.core.capabilities import HasPaths


class NormalisedPathEnergy(TwoSampleMetric):
    r"""Energy of a flow's paths beyond that of optimal transport, relative to it (Tong et al. 2024, sec. 5).

    .. math:: \frac{|E - W^2|}{W^2}, \quad E = \frac1N \sum_i \int |v(x_i(t), t)|^2 dt

    with W the exact 2-Wasserstein distance between the starts of the paths and as many real points. 0 is
    best: the paths are those of optimal transport.

    ``update(points, real=True)`` adds real points, ``update(starts, real=False, energy=energy)`` the starts
    of paths with the energy of each, such as ``model.path_energy(n)`` of zoo's flows along an ODE.

    Raises:
        ZooError: by ``compute``: there are not as many real points as paths.

    >>> import torch
    >>> metric = NormalisedPathEnergy()
    >>> metric.update(torch.tensor([[2.0, 0.0]]), real=True)
    >>> metric.update(torch.tensor([[0.0, 0.0]]), real=False, energy=torch.tensor([5.0]))
    >>> metric.compute()
    tensor(0.2500, dtype=torch.float64)
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    energy: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("energy", [], dist_reduce_fx="cat")

    def update(self, x: Tensor, real: bool, energy: Tensor | None = None) -> None:
        """Add real points, or the starts of paths with their energy.

        Args:
            x: ``(B, D)``.
            real: whether these are real points or starts of paths.
            energy: the integral of |v|^2 over each path, ``(B,)``, in squared units of the data.
        """
        super().update(x, real)
        if not real and energy is not None:
            self.energy.append(energy.detach().to(device=self.device, dtype=torch.float64))

    def _estimate(self) -> Value:
        starts, real = self._sets()
        energy = joined(self.energy, "There are no energies of paths: call update(x, False, energy=...).")
        least, mean = squared_wasserstein(starts, real), energy.mean().item()
        details = {"energy": mean, "squared_wasserstein": least}
        return Value(abs(mean - least) / least, n=len(starts), details=details)


@metric("normalised_path_energy", needs=("plane", "paths"))
def normalised_path_energy(context: Context) -> Value:
    """|E - W2^2| / W2^2 with the energy E of a flow's paths, E int |v|^2 dt (Tong et al. 2024, sec. 5).

    W2^2 is the exact squared 2-Wasserstein distance between the starts of the paths, drawn from the model's
    source, and as many test points: what the paths of optimal transport would cost. 0 is best.
    """
    test = context.examples("test")
    count = min(context.settings.samples or 1000, len(test), context.settings.pairwise_examples, LARGEST)
    with rng.keyed(rng.keys(context.sample_seed, 1, count=count)):
        starts, energy = cast(HasPaths, context.model).path_energy(count)
    judge = NormalisedPathEnergy()
    judge.update(subset(test, count, context.settings.seed), real=True)
    judge.update(starts, real=False, energy=energy)
    return judge.estimate()
