"""``reconstruction``: the first part of a VAE's bound."""

from __future__ import annotations

from zoo.evaluation.base import Value
from zoo.evaluation.context import Context
from zoo.evaluation.evidence import mean, parts
from zoo.evaluation.metrics import metric


@metric("reconstruction", unit="nats", direction="none", needs=("bound",))
def reconstruction(context: Context) -> Value:
    """E_q log p(x | z) of test examples, by one sample of the latents."""
    return mean(parts(context)[0])
