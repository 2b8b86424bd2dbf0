"""``reverse_kl``: how unevenly the samples near modes are spread over them."""

from __future__ import annotations

import torch

from zoo.errors import ZooError
from zoo.evaluation.base import Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import metric
from zoo.evaluation.modes import ModeMetric


class ReverseKL(ModeMetric):
    r"""KL of the shares p of samples near each of K modes to equal shares, in nats (Lin et al. 2018, PacGAN).

    .. math:: \sum_k p_k \ln(K p_k) = \ln K - H(p)

    Near is within 3 standard deviations; other samples are left out. For the arguments see
    :class:`~zoo.evaluation.modes.ModeMetric`.

    Raises:
        ZooError: by ``compute``: no sample is near a mode.

    >>> import torch
    >>> metric = ReverseKL(torch.tensor([[0.0], [10.0]]), deviation=1.0)
    >>> metric.update(torch.tensor([[0.5], [0.7], [5.0]]))
    >>> round(metric.compute().item(), 4)  # all at one of two modes: ln 2
    0.6931
    """

    higher_is_better = False

    def _estimate(self) -> Value:
        self._number()
        counts = self.counts.double()
        if counts.sum() == 0:
            raise ZooError("No sample lies within 3 standard deviations of a mode.")
        shares = counts / counts.sum()
        return Value(float(torch.special.xlogy(shares, shares * len(shares)).sum()), n=int(counts.sum()))


@metric("reverse_kl", unit="nats", direction="lower", needs=("samples", "modes"))
def reverse_kl(context: Context) -> Value:
    """KL(shares of samples near each of K modes || 1/K), which is ln K less the shares' entropy.

    Near is within 3 standard deviations; other samples are left out. It is the "reverse KL" that PacGAN (Lin
    et al. 2018) reports, by our reading: their program logs the entropy.
    """
    return ReverseKL.of(context)
