"""Batch normalisation as a bijection."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models.bijections.base import Bijection, zeros
from zoo.models.core.distributed import moments
from zoo.ranks import world_size

Statistics = Literal["running", "training set"]


class BatchNorm(Bijection):
    """Batch normalisation z = (x - m) (v + eps)^-1/2 exp(log_scale) + shift, for each index of dimension 1.

    Dinh et al. 2017, section 3.7 and appendix E. In training m and v are the mean and the (biased) variance
    of the batch, so a row's density depends on its batch. Evaluation and ``inverse`` use the buffers ``mean``
    and ``variance``: with ``running`` statistics, averages over past batches; with ``training set``,
    statistics of the whole training set, computed layer by layer by :meth:`collect` before each validation
    (Papamakarios et al. 2017, appendix B). So in training mode ``inverse`` does not undo ``forward``.

    Args:
        size: size of dimension 1.
        statistics: statistics that evaluation uses: ``running`` or ``training set``.
        momentum: weight of a new batch in the averages.
        epsilon: number that is added to the variance.

    Raises:
        ZooError: the statistics are unknown; in training: a batch has a single value.
    """

    reversible: ClassVar[bool] = False
    mean: Tensor
    variance: Tensor

    def __init__(
        self, size: int, statistics: Statistics = "running", momentum: float = 0.1, epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        if statistics not in ("running", "training set"):
            raise ZooError(f"Batch statistics are 'running' or 'training set'; got '{statistics}'.")
        self.needs_training_set = statistics == "training set"
        self.momentum, self.epsilon = momentum, epsilon
        self.log_scale = nn.Parameter(torch.zeros(size))
        self.shift = nn.Parameter(torch.zeros(size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not self.training or not len(x):
            return self._normalise(x, self.mean, self.variance)
        values = x.transpose(0, 1).flatten(1)
        if values.shape[1] * world_size() < 2:
            raise ZooError(
                "Batch normalisation divides by the spread of a batch, and one value has none; raise "
                "training.batch_size, or lower training.accumulate."
            )
        mean, variance, _ = moments(values)  # moments of the global batch
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.variance.lerp_(variance, self.momentum)
        return self._normalise(x, mean, variance)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_factor = self._log_factor(self.variance)
        x = (z - _wide(self.shift, z)) * _wide((-log_factor).exp(), z) + _wide(self.mean, z)
        return x, -self._log_det(log_factor, z)

    @torch.no_grad()
    def collect(self, batches: list[Tensor], contexts: list[Tensor | None]) -> list[Tensor]:
        """Set mean and variance from the whole training set, if evaluation uses it."""
        if self.needs_training_set and batches:
            wide = torch.promote_types(batches[0].dtype, torch.float32)
            values = [x.transpose(0, 1).flatten(1).to(wide) for x in batches]
            count = sum(v.shape[1] for v in values)
            total = torch.stack([v.sum(1) for v in values]).sum(0) / count
            square = torch.stack([(v - total[:, None]).square().sum(1) for v in values]).sum(0) / count
            self.mean.copy_(total)
            self.variance.copy_(square)
        return super().collect(batches, contexts)

    def _normalise(self, x: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        log_factor = self._log_factor(variance)
        z = (x - _wide(mean, x)) * _wide(log_factor.exp(), x) + _wide(self.shift, x)
        return z, self._log_det(log_factor, x)

    def _log_factor(self, variance: Tensor) -> Tensor:
        return self.log_scale - 0.5 * (variance + self.epsilon).log()

    def _log_det(self, log_factor: Tensor, x: Tensor) -> Tensor:
        total = zeros(x)
        return total + log_factor.sum(dtype=total.dtype) * x.shape[2:].numel()


def _wide(value: Tensor, x: Tensor) -> Tensor:
    return value.view(1, -1, *[1] * (x.ndim - 2)).to(x.dtype)
