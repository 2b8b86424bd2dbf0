"""Likelihood of held-out data, in nats per example and in bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import Unsound, ZooError
from zoo.evaluation.base import Value
from zoo.evaluation.device import placement
from zoo.evaluation.distributed import in_batches
from zoo.evaluation.flows import estimation
from zoo.evaluation.metrics.bits_per_dim import BitsPerDim
from zoo.evaluation.metrics.negative_log_likelihood import NegativeLogLikelihood
from zoo.models.core import rng
from zoo.models.core.capabilities import HasLikelihoodDetails, HasLogProb, Likelihood, declared, offers
from zoo.models.core.nfe import count_nfe
from zoo.record import Kind, Metric


def likelihood(model: nn.Module, x: Tensor, spec: DataSpec, **settings: Any) -> dict[str, Metric]:
    """Return the metrics of :func:`score`, without the log-likelihoods of the examples."""
    return score(model, x, spec, **settings)[0]


def score(
    model: nn.Module,
    x: Tensor,
    spec: DataSpec,
    *,
    batch_size: int = 256,
    dequantisation_samples: int = 1,
    entropy: float | None = None,
    log_density: Callable[[Tensor], Tensor] | None = None,
) -> tuple[dict[str, Metric], Tensor | None]:
    """Return the metrics ``nll`` (nats per example) and, for integer data, ``bits_per_dim`` = nll / (D ln 2).

    If the data's density p is known, also ``kl`` = mean(log p(x) - log q(x)), in nats: the Kullback-Leibler
    divergence from the data's density to the model's q. Where q is close to p the two logarithms vary
    together, so its error is 5 to 10 times smaller than that of nll - H, which is used if the entropy H alone
    is known.

    Args:
        model: in evaluation mode, with ``log_prob`` and ``likelihood``.
        x: test examples ``(N, *spec.shape)``, in data space.
        spec: the data.
        batch_size: number of examples that are scored at once.
        dequantisation_samples: K noises per example, combined as log 1/K sum_k p_k(x), where that is a lower
            bound: see :func:`repeats`.
        entropy: entropy of the data's density, in nats, if it is known.
        log_density: the density itself, a function from examples to log p ``(N,)``, if it is known.

    Returns:
        The metrics by name, and log p of each example, float64 ``(N,)``, in nats, or None. A model without a
        density, or one whose log-likelihoods are not all finite or could not be computed
        (:class:`~zoo.errors.Unsound`), has metrics without a value, with the reason. The detail
        ``sequential_evaluations`` is the number of network evaluations of a batch, on average over batches,
        for models whose networks report them: function evaluations in one solve of a continuous flow.

    Raises:
        ZooError: the model declares no likelihood.
    """
    kind, details, copies = _kind(model, spec, dequantisation_samples)
    if len(x) == 0:
        return _empty(spec, kind, details, "There are no test examples."), None
    try:
        with count_nfe() as counter:
            values = log_probs(model, x, batch_size, copies)
    except Unsound as error:
        return _empty(spec, kind, details, str(error), len(x)), None
    except NotImplementedError as error:  # NoLikelihood is a subclass of it
        reason = str(error) or f"{type(model).__name__} defines no likelihood."
        return _empty(spec, "none", details, reason), None
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        reason = f"{bad} of {len(x)} log-likelihoods are not finite."
        return _empty(spec, kind, details, reason, len(x)), None

    if counter.count:
        passes = math.ceil(len(x) / batch_size) * copies
        details["sequential_evaluations"] = round(counter.count / passes, 2)
    if kind == "estimate":
        details |= _estimation(model, x, values)
    nats = _mean(NegativeLogLikelihood(sync_on_compute=False), values)
    result = {"nll": _metric(nats, "nats", kind, details)}
    result |= _divergence(x, values, nats, kind, details, entropy, log_density)
    if spec.levels is not None:
        bits = _mean(BitsPerDim(spec.dim, sync_on_compute=False), values)
        result["bits_per_dim"] = _metric(bits, "bits/dim", kind, dict(details))
    return result, values


def _estimation(model: nn.Module, x: Tensor, values: Tensor) -> dict[str, Any]:
    """Return how inexact an estimated likelihood is, for the record, or the reason why this is not known."""
    try:
        return estimation(model, x, values, _of_batch)  # each process computes the same
    except Unsound as error:
        return {"estimation_reason": str(error)}


def _kind(model: nn.Module, spec: DataSpec, samples: int) -> tuple[Kind, dict[str, Any], int]:
    """Return the kind of a model's likelihood, its details, and how many noises per example are combined."""
    declaration = declared(model)
    kind = declaration.likelihood
    if kind is None:
        kinds = ", ".join(get_args(Likelihood))
        raise ZooError(f"{type(model).__name__}.likelihood is {kind!r}; use one of {kinds}.")
    details = dict(model.likelihood_details()) if offers(model, HasLikelihoodDetails) else {}
    if declaration.conditional:
        details["labels"] = f"mixture over {spec.classes} equally likely labels"
    copies = repeats(kind, details, samples)
    if copies > 1:
        kind = "lower bound"
        details["dequantisation_samples"] = copies
    return kind, details, copies


def _divergence(
    x: Tensor,
    values: Tensor,
    nats: Value,
    kind: Kind,
    details: dict[str, Any],
    entropy: float | None,
    log_density: Callable[[Tensor], Tensor] | None,
) -> dict[str, Metric]:
    """Return ``kl``, of data whose density or entropy is known, and nothing of other data."""
    if log_density is not None:
        kl = divergence(values, log_density(x), entropy)
        return {"kl": _metric(kl, "nats", kind, details)}
    if entropy is not None:
        kl = replace(nats, value=nats.value - entropy, details={})
        return {"kl": _metric(kl, "nats", kind, details | {"entropy": entropy})}
    return {}


def divergence(log_q: Tensor, log_p: Tensor, entropy: float | None = None) -> Value:
    """Return mean(log p(x) - log q(x)) over the data's points x, in nats: KL(p, q), with its standard error.

    Args:
        log_q: logarithm of the model's density at each point, ``(N,)``, in nats.
        log_p: that of the data's density, likewise.
        entropy: of the data's density, in nats; if it is known the details have nll - entropy too.
    """
    log_q, log_p = (values.to(device="cpu", dtype=torch.float64) for values in (log_q, log_p))
    kl = _mean(NegativeLogLikelihood(sync_on_compute=False), log_q - log_p)
    about: dict[str, Any] = {"estimator": "mean of log p(data) - log q(model)", "entropy": entropy}
    about |= {} if entropy is None else {"nll_minus_entropy": -log_q.mean().item() - entropy}
    return replace(kl, details=about | kl.details)


def _mean(mean: NegativeLogLikelihood, values: Tensor) -> Value:
    """Return the mean of values that every process already has, without gathering them again."""
    mean.update(values)
    return mean.estimate()


def _metric(value: Value, unit: str, kind: Kind, details: dict[str, Any]) -> Metric:
    return Metric(
        value.value,
        unit,
        kind,
        standard_error=value.standard_error,
        n=value.n or 0,
        details=details | value.details,
    )


def repeats(kind: str, details: dict[str, Any], wanted: int) -> int:
    """Return how many noises per example may be combined: ``wanted``, or 1 if their mean is not a bound.

    log 1/K sum_k w_k is on average a lower bound of log P(x) if each weight w_k is an unbiased estimate of
    P(x) (Burda et al. 2016, eq. 8). This holds for a flow's density at x + u with uniform dequantisation
    noise u (P(x) is its mean over the unit cell), for p(x + u) / q(u | x) with learned or Gaussian noise (Ho
    et al. 2019), and for an IWAE. It does not hold for an ELBO, whose exponential may exceed P(x) on average,
    nor for a density with an estimated trace.

    Args:
        kind: kind of the likelihood.
        details: details of the likelihood, with the keys ``dequantisation`` and ``bound``.
        wanted: the setting ``dequantisation_samples``.
    """
    if wanted < 1:
        raise ZooError(f"dequantisation_samples must be at least 1; got {wanted}.")
    noise_of = {"exact": ("uniform",), "lower bound": ("variational", "gaussian")}
    unbiased = details.get("dequantisation") in noise_of.get(kind, ()) or details.get("bound") == "IWAE"
    return wanted if unbiased else 1


@torch.no_grad()
def log_probs(model: nn.Module, x: Tensor, batch_size: int = 256, copies: int = 1) -> Tensor:
    """Return the log-likelihood of each example, float64 ``(N,)`` on the CPU, in nats.

    It does not depend on the batch size. Several processes divide the examples, and each returns all values.
    """
    return in_batches(model, len(x), batch_size, lambda rows: _of_batch(model, x[rows], copies))


def _of_batch(model: nn.Module, batch: Tensor, copies: int = 1) -> Tensor:
    device, dtype = placement(model)
    batch = batch.to(device=device, dtype=dtype)
    if copies == 1:
        return _checked(cast(HasLogProb, model).log_prob(batch), batch)
    draws = [_salted(model, batch, salt) for salt in range(copies)]
    return torch.stack(draws).logsumexp(0) - math.log(copies)


def _salted(model: nn.Module, batch: Tensor, salt: int) -> Tensor:
    with rng.keyed(rng.content_keys(batch, salt=salt)):
        return _checked(cast(HasLogProb, model).log_prob(batch), batch)


def _checked(values: Tensor, batch: Tensor) -> Tensor:
    if tuple(values.shape) != (len(batch),):
        raise ZooError(
            f"log_prob must return one value per example, shape ({len(batch)},); got {tuple(values.shape)}."
        )
    return values.to(device="cpu", dtype=torch.float64)


def _empty(spec: DataSpec, kind: Kind, details: dict[str, Any], reason: str, n: int = 0) -> dict[str, Metric]:
    units = {"nll": "nats"} | ({"bits_per_dim": "bits/dim"} if spec.levels is not None else {})
    return {
        name: Metric(None, unit, kind, n=n, details=dict(details), reason=reason)
        for name, unit in units.items()
    }
