"""``kl_to_prior``: the second part of a VAE's bound."""

from __future__ import annotations

from torch import Tensor

from zoo.evaluation.base import MeanMetric, Value
from zoo.evaluation.context import Context
from zoo.evaluation.evidence import parts
from zoo.evaluation.metrics import metric


class KLToPrior(MeanMetric):
    r"""Mean over examples of KL(q(z | x) || p(z)), in nats: what the latents say about x.

    ``update`` takes the KL of each example, the second of ``model.bound_parts(x)`` of zoo's VAEs. It ranks no
    models: with a better reconstruction it is larger.

    >>> import torch
    >>> metric = KLToPrior()
    >>> metric.update(torch.tensor([1.0, 3.0]))
    >>> metric.compute()
    tensor(2., dtype=torch.float64)
    """

    def update(self, kl: Tensor) -> None:
        """Add the KL of examples, ``(B,)``, in nats."""
        self._add(kl)


@metric("kl_to_prior", unit="nats", direction="none", needs=("bound",))
def kl_to_prior(context: Context) -> Value:
    """KL(q(z | x) || p(z)) of test examples, all of them; ``rate`` is the same of the diagnosed ones."""
    kl = KLToPrior()
    kl.update(parts(context)[1])
    return kl.estimate()
