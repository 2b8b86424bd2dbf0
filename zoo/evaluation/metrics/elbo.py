"""``elbo``: the evidence lower bound of a VAE."""

from __future__ import annotations

from torch import Tensor

from zoo.evaluation.base import MeanMetric, Value
from zoo.evaluation.context import Context
from zoo.evaluation.evidence import parts
from zoo.evaluation.metrics import metric


class EvidenceLowerBound(MeanMetric):
    r"""Mean over examples of the evidence lower bound, in nats (Kingma & Welling 2014, eq. 3).

    .. math:: \frac1N \sum_i E_q \log p(x_i | z) - \operatorname{KL}\big(q(z | x_i) \,\|\, p(z)\big)

    ``update`` takes the two parts of each example, such as ``model.bound_parts(x)`` of zoo's VAEs.

    >>> import torch
    >>> metric = EvidenceLowerBound()
    >>> metric.update(torch.tensor([-4.0, -2.0]), torch.tensor([1.0, 3.0]))
    >>> metric.compute()
    tensor(-5., dtype=torch.float64)
    """

    higher_is_better = True

    def update(self, reconstruction: Tensor, kl: Tensor) -> None:
        """Add E_q log p(x | z) and KL(q || p) of examples, ``(B,)`` each, in nats."""
        self._add(reconstruction.double() - kl.double())


@metric("elbo", unit="nats", direction="higher", kind="lower bound", needs=("bound",))
def elbo(context: Context) -> Value:
    """Evidence lower bound of test examples, by one sample of the latents, also where ``nll`` has more."""
    bound = EvidenceLowerBound()
    bound.update(*parts(context))
    return bound.estimate()
