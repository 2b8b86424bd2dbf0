"""``kl_to_prior``: the second part of a VAE's bound."""

from __future__ import annotations

from zoo.evaluation.base import Value
from zoo.evaluation.context import Context
from zoo.evaluation.evidence import mean, parts
from zoo.evaluation.metrics import metric


@metric("kl_to_prior", unit="nats", direction="none", needs=("bound",))
def kl_to_prior(context: Context) -> Value:
    """KL(q(z | x) || p(z)) of test examples, all of them; ``rate`` is the same of the diagnosed ones."""
    return mean(parts(context)[1])
