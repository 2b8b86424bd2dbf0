"""``elbo``: the evidence lower bound of a VAE."""

from __future__ import annotations

from zoo.evaluation.base import Value
from zoo.evaluation.context import Context
from zoo.evaluation.evidence import mean, parts
from zoo.evaluation.metrics import metric


@metric("elbo", unit="nats", direction="higher", kind="lower bound", needs=("bound",))
def elbo(context: Context) -> Value:
    """Evidence lower bound of test examples, by one sample of the latents, also where ``nll`` has more."""
    reconstruction, kl = parts(context)
    return mean(reconstruction - kl)
