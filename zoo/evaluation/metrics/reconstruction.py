"""``reconstruction``: the first part of a VAE's bound."""

from __future__ import annotations

from torch import Tensor

from zoo.evaluation.base import MeanMetric, Value
from zoo.evaluation.context import Context
from zoo.evaluation.evidence import parts
from zoo.evaluation.metrics import metric


class Reconstruction(MeanMetric):
    r"""Mean over examples of E_q log p(x | z), in nats: how well x is recovered from its latents.

    ``update`` takes this of each example, the first of ``model.bound_parts(x)`` of zoo's VAEs. It ranks no
    models: latents that hold all of x recover it, whatever the prior.

    >>> import torch
    >>> metric = Reconstruction()
    >>> metric.update(torch.tensor([-4.0, -2.0]))
    >>> metric.compute()
    tensor(-3., dtype=torch.float64)
    """

    def update(self, reconstruction: Tensor) -> None:
        """Add E_q log p(x | z) of examples, ``(B,)``, in nats."""
        self._add(reconstruction)


@metric("reconstruction", unit="nats", direction="none", needs=("bound",))
def reconstruction(context: Context) -> Value:
    """E_q log p(x | z) of test examples, by one sample of the latents."""
    recovered = Reconstruction()
    recovered.update(parts(context)[0])
    return recovered.estimate()
