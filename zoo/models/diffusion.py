"""Diffusion: a chain of small denoising steps, and the ODE that it becomes with many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from zoo.checks import at_least, whole, within
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.continuous import ContinuousFlow
from zoo.models.core import rng
from zoo.models.core.capabilities import Diagnostic
from zoo.models.core.distributions import LOG_2PI
from zoo.models.core.functional import sum_event
from zoo.models.ffjord import ContinuousModel
from zoo.models.flow_matching import Field, make_field

Schedule = Literal["linear", "cosine"]
Prediction = Literal["eps", "v"]
CHOICES = {
    "schedule": ("cosine", "linear"),
    "prediction": ("eps", "v"),
    "variance": ("small", "large"),
    "sampler": ("ancestral", "ddim", "ode"),
    "likelihood": ("auto", "elbo", "ode"),
}
LARGEST_BETA = 0.999  # Nichol & Dhariwal 2021, section 3.2
LEAST_SIGNAL = 0.006  # where the ODE ends; the linear schedule with 1000 steps ends there
ODE_EXAMPLES = 50  # whose density by the ODE stands beside the bound: a second or two on digits
COPIES_AT_ONCE = 16  # terms of the bound evaluated together; fixed, so that the noise is the same everywhere


class Diffusion(ContinuousModel):
    r"""Denoising diffusion (Ho et al. 2020, arXiv:2006.11239; Nichol & Dhariwal 2021; Salimans & Ho 2022).

    Data x_0 are noised in T steps with q(x_t | x_0) = N(a_t x_0, s_t^2 I), where a_t^2 = prod_i (1 - beta_i)
    and a_t^2 + s_t^2 = 1. So a step is an angle, a = cos(phi) and s = sin(phi), from 0 at the data to almost
    pi/2 at the latents, and it is the angle that the network is told (as 2 phi / pi). The network predicts
    the noise e (``eps``) or the velocity v = dx/dphi = a e - s x_0 (``v``); either gives the other:

        e = s x_t + a v,    x_0 = a x_t - s v.

    **Training** regresses what the network predicts at a uniform step, without weights (Ho et al., eq. 14).

    **Sampling** starts from x_T ~ N(0, I) and visits ``sample_steps`` of the steps. ``ancestral`` draws from
    p(x_s | x_t) = q(x_s | x_t, x_0 = prediction); ``ddim`` turns by the angle between the steps, x_s =
    cos(d) x_t - sin(d) v (Song et al. 2021); ``ode`` follows dx/dphi = v by the solver of
    :class:`~zoo.models.bijections.continuous.ContinuousFlow`. The last step returns the predicted x_0, on
    images in the nearest level, and predictions of x_0 are clipped to the pixels' range (Ho et al.).

    **Likelihood**, in nats:

    - ``elbo``, a lower bound of all T steps (Ho et al., eq. 5), log p(x_0 | x_1) - KL(q(x_T | x_0) || p)
      - sum_{t=2..T} KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)). On integers, which sit at the centres of
      their cells, the first is the mass of a Gaussian cut into cells; on continuous data its density. The sum
      is an unbiased estimate by ``terms`` steps, stratified by their weight; or all of them.
    - ``ode``, the density by the probability flow dx/dphi = v (Song et al. 2021, eq. 39), an estimate by a
      solver at a tolerance. Integers are dequantised, in training too.
    - ``auto``: ``elbo`` of integers, ``ode`` of continuous data.

    ``log_prob`` is one of them, and training is made for it: for ``elbo`` the network sees integers at the
    centres of their cells, for ``ode`` dequantised ones. As Song et al. do with the weights of Ho et al., a
    network trained for the bound is judged by its ODE too, see :meth:`diagnostics`.

    Args:
        spec: the data; continuous data should be of a size of about one.
        timesteps: T.
        schedule: ``cosine`` (Nichol & Dhariwal, eq. 17) or ``linear`` (beta from 0.1/T to 20/T, as
            Ho et al. have it at T = 1000).
        first_noise: least standard deviation of the noise in x_1 of integers, in cells. Noise far below a
            cell shows a network nothing but its own precision, and each halving of it costs the bound up to a
            bit a dimension; at 256 levels the schedules begin above it. The ODE's density has no cells.
        prediction: ``v`` or ``eps``.
        variance: of p(x_s | x_t): ``small``, that of q(x_s | x_t, x_0), or ``large``, that of q(x_t | x_s).
        likelihood: see above.
        terms: steps in an estimate of the bound; None for all.
        sampler: ``ancestral``, ``ddim`` or ``ode``.
        sample_steps: steps that the first two samplers visit, at most all; None for all.
        conditional: condition the network on the label.
        label_dropout: share of a conditional model's training examples without their label.
        guidance: w of classifier-free guidance in the first two samplers, (1 + w) v(x, y) - w v(x) (Ho &
            Salimans 2022, eq. 6); above 0 it needs a model trained with ``label_dropout`` above 0.
        field, hidden, unet, patch: the network, see :class:`~zoo.models.flow_matching.FlowMatching`.
        solver, steps, atol, rtol, exact_dim: see :class:`~zoo.models.bijections.continuous.ContinuousFlow`.

    Raises:
        ZooError: a setting that does not exist or is out of range.
    """

    family = "diffusion"
    objective = "matching"

    angles: Tensor
    weights: Tensor
    cumulative: Tensor

    def __init__(
        self,
        spec: DataSpec,
        timesteps: int = 1000,
        schedule: Schedule = "cosine",
        first_noise: float = 0.4,
        prediction: Prediction = "v",
        variance: Literal["small", "large"] = "small",
        likelihood: Literal["auto", "elbo", "ode"] = "auto",
        terms: int | None = 32,
        sampler: Literal["ancestral", "ddim", "ode"] = "ancestral",
        sample_steps: int | None = 100,
        conditional: bool = False,
        label_dropout: float = 0.1,
        guidance: float = 0.0,
        field: Field = "unet",
        hidden: Sequence[int] = (128, 128, 128),
        unet: Mapping[str, Any] | None = None,
        patch: Mapping[str, Any] | None = None,
        solver: str = "dopri5",
        steps: int = 20,
        atol: float = 1e-5,
        rtol: float = 1e-5,
        exact_dim: int = 8,
    ) -> None:
        chosen = {
            "schedule": schedule, "prediction": prediction, "variance": variance, "sampler": sampler,
            "likelihood": likelihood,
        }  # fmt: skip
        for name, value in chosen.items():
            if value not in CHOICES[name]:
                raise ZooError(f"model.{name} is {' or '.join(CHOICES[name])}; got '{value}'.")
        whole(2, timesteps=timesteps)
        whole(1, terms=terms, sample_steps=sample_steps)
        at_least(0, first_noise=first_noise, guidance=guidance)
        within(0, 1, label_dropout=label_dropout)
        if guidance and (not conditional or sampler == "ode"):
            raise ZooError("model.guidance needs conditional=true and sampler ancestral or ddim.")
        if guidance and not label_dropout:
            raise ZooError(
                "model.guidance leads away from the prediction without a label, which label_dropout=0 never "
                "trains; set model.label_dropout above 0, such as 0.1."
            )
        by_bound = likelihood == "elbo" or (likelihood == "auto" and spec.levels is not None)
        cell = 2 / spec.levels if spec.levels is not None and by_bound else 0.0
        angle = schedule_angles(timesteps, schedule, first_noise * cell)
        network = make_field(spec, field, hidden, unet, patch, conditional)
        end = min(float(angle[-1]), math.acos(LEAST_SIGNAL))
        ode = ContinuousFlow(
            VelocityField(network, prediction, end),
            solver=solver, steps=steps, atol=atol, rtol=rtol, exact_dim=exact_dim,
        )  # fmt: skip
        super().__init__(spec, ode, "centre", conditional=conditional)
        self.timesteps, self.prediction, self.variance = timesteps, prediction, variance
        self.by_bound = by_bound
        self.likelihood = "lower bound" if self.by_bound else "estimate"
        self.terms = min(terms or timesteps, timesteps - 1)
        self.sampler, self.sample_steps = sampler, min(sample_steps or timesteps, timesteps)
        self.label_dropout, self.guidance = label_dropout, guidance
        self.grid: list[float] = angle.tolist()
        # KL_t = constant_t D + weight_t |v - prediction of v|^2, t = 2..T
        weight, constant = _kl_coefficients(angle, variance)
        self.constant, self.weight = float(constant.sum()), float(weight.sum())
        self.register_buffer("angles", angle.float(), persistent=False)
        self.register_buffer("weights", weight.float(), persistent=False)
        self.register_buffer("cumulative", (weight.cumsum(0) / weight.sum()).float(), persistent=False)

    @property
    def velocity(self) -> VelocityField:
        """The network, as the velocity dx/dphi."""
        return self.ode.field  # type: ignore[return-value]

    def matching_loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Squared error of the predicted noise or velocity at a uniform step, over D, ``(B,)``.

        Args:
            x: ``(B, *spec.shape)`` in data space.
            y: labels ``(B,)`` of a conditional model.
        """
        x, context = x.to(device=self.device, dtype=self.dtype), self.one_hot(y, len(x))
        x = self._state(x)
        flat = x.flatten(1)[:, :1]
        step = 1 + (rng.uniform(flat) * self.timesteps).long().clamp(max=self.timesteps - 1).flatten()
        e = rng.normal(x)
        angle = self.angles[step].to(x.dtype)
        a, s = _wide(angle.cos(), x), _wide(angle.sin(), x)
        if context is not None and self.training:
            context = context * (rng.uniform(flat) >= self.label_dropout)
        target = e if self.prediction == "eps" else a * e - s * x
        return (self.velocity.predict(angle, a * x + s * e, context) - target).square().flatten(1).mean(1)

    def _state(self, x: Tensor) -> Tensor:
        """Data as the chain's x_0: in [-1, 1] for integers, at cells' centres or dequantised."""
        if self.dequantise is not None:
            x = x + 0.5 if self.by_bound else self.dequantise(x)
        return self.before(x)[0]

    # Likelihood -----------------------------------------------------------------------------------------

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._bound(x, context) if self.by_bound else super()._log_prob(x, context)

    def _bound(self, x: Tensor, context: Tensor | None) -> Tensor:
        """The evidence lower bound, ``(B,)`` nats: on average over its noise at most log p(x)."""
        start = self._state(x)
        a, s = math.cos(self.grid[-1]), math.sin(self.grid[-1])
        prior = 0.5 * sum_event(s**2 + (a * start).square() - 1 - 2 * math.log(s))
        between = self.constant * self.spec.dim + self._squared_errors(start, context)
        return self._decoder(x, start, context) - prior - between

    def _decoder(self, x: Tensor, start: Tensor, context: Tensor | None) -> Tensor:
        """log p(x | x_1) with x_1 drawn from q, ``(B,)``."""
        first, std, levels = self.grid[1], self._decoder_std(), self.spec.levels
        noisy = math.cos(first) * start + math.sin(first) * rng.normal(start)
        mean, _ = self._denoise(first, noisy, context)
        if levels is None:
            return sum_event(-0.5 * (((x - mean) / std).square() + LOG_2PI) - math.log(std))
        centre = (mean + 1) * (levels / 2) - 0.5
        return sum_event(discretised_gaussian_log_prob(x, centre, std * levels / 2, levels))

    def _decoder_std(self) -> float:
        """Standard deviation of p(x | x_1), in units of x_0: that of the noise in x_1 where ``large``. Where
        ``small``, half of its variance, since q(x_0 | x_1, x_0) has none (Ho et al.'s programs take that of
        the step before, which is 0.54 of it in their schedule)."""
        return math.sin(self.grid[1]) * (1.0 if self.variance == "large" else math.sqrt(0.5))

    def _squared_errors(self, start: Tensor, context: Tensor | None) -> Tensor:
        """sum_{t=2..T} weight_t |v - prediction|^2, or its unbiased estimate, ``(B,)``."""
        n, total = len(start), torch.zeros(len(start), dtype=torch.float64, device=start.device)
        every = self.terms == self.timesteps - 1
        where = rng.uniform(start.flatten(1)[:, :1]).flatten()
        for first in range(0, self.terms, COPIES_AT_ONCE):
            copies = min(COPIES_AT_ONCE, self.terms - first)
            part = torch.arange(first, first + copies, device=start.device)[:, None]
            if every:
                index = part.expand(copies, n)
                share = self.weights[index]
            else:  # one place in each of equal strata of the cumulated weight
                place = ((part + where) / self.terms).to(self.cumulative.dtype)
                index = torch.searchsorted(self.cumulative, place, right=True).clamp(max=self.timesteps - 2)
                share = torch.full_like(place, self.weight / self.terms)
            angle = self.angles[index.flatten() + 2].to(start.dtype)
            # copies outside, examples inside: the order in which the noise keeps to its example
            x = start.repeat(copies, *[1] * (start.ndim - 1))
            e = rng.normal(x)
            a, s = _wide(angle.cos(), x), _wide(angle.sin(), x)
            labels = None if context is None else context.repeat(copies, 1)
            _, predicted = self._denoise(angle, a * x + s * e, labels)
            errors = sum_event((a * e - s * x - predicted).square())
            total += (share * errors.view(copies, n)).sum(0).double()
        return total.to(start.dtype)

    def likelihood_details(self) -> dict[str, Any]:
        if not self.by_bound:
            return super().likelihood_details()
        return {"bound": "ELBO", "timesteps": self.timesteps, "terms": self.terms + 1}

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]:
        """``straightness``, and of a model whose ``log_prob`` is the bound its density by the ODE beside it.

        ``bits_per_dim/ode`` of integers, dequantised uniformly, or ``nll/ode``: an estimate from the first 50
        examples at most. It is what a model with ``likelihood="ode"`` and the same weights says of them.
        """
        found = super().diagnostics(x)
        if not self.by_bound:
            return found
        x = x[:ODE_EXAMPLES]
        with rng.keyed(rng.content_keys(x)):
            nats = -self._of_labels(super()._log_prob, x).double()
        name, unit, scale = "nll/ode", "nats", 1.0
        if self.spec.levels is not None:
            name, unit, scale = "bits_per_dim/ode", "bits/dim", self.spec.dim * math.log(2)
        error = float(nats.std()) / math.sqrt(len(x)) / scale if len(x) > 1 else None
        details = super().likelihood_details()
        return found | {name: Diagnostic(float(nats.mean()) / scale, unit, error, len(x), details)}

    def sampling_details(self) -> dict[str, Any]:
        if self.sampler == "ode":
            return {"sampler": "ode", **super().sampling_details()}
        guidance = {"guidance": self.guidance} if self.guidance else {}
        return {"sampler": self.sampler, "sample_steps": self.sample_steps, **guidance}

    # Sampling -------------------------------------------------------------------------------------------

    def _denoise(
        self, angle: Tensor | float, x: Tensor, context: Tensor | None, guidance: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Predictions of x_0 and of v at an angle ``()`` or ``(B,)``, x_0 of integers inside their range."""
        angle = torch.as_tensor(angle, dtype=x.dtype, device=x.device)
        v = self.velocity.at(angle, x, context)
        if guidance and context is not None:
            v = (1 + guidance) * v - guidance * self.velocity.at(angle, x, torch.zeros_like(context))
        a, s = _wide(angle.cos(), x), _wide(angle.sin(), x)
        clean = a * x - s * v
        if self.spec.levels is not None:
            clean = clean.clamp(-1, 1)
            v = (a * x - clean) / s
        return clean, v

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        if self.sampler == "ode":
            return super()._sample(n, temperature, context)
        x = self.base.sample(n, temperature, context)
        visited = torch.linspace(self.timesteps, 0, self.sample_steps + 1, dtype=torch.float64).round().long()
        for t, s in zip(visited[:-1].tolist(), visited[1:].tolist(), strict=True):
            here, there = self.grid[t], self.grid[s]
            clean, v = self._denoise(here, x, context, self.guidance)
            if s == 0:
                x = clean
            elif self.sampler == "ddim":
                x = math.cos(here - there) * x - math.sin(here - there) * v
            else:
                mean = _posterior_mean(here, there, x, clean)
                std = math.sqrt(_step_variance(here, there, self.variance))
                x = mean + temperature * std * rng.normal(x)
        return self._to_data(x)


class VelocityField(nn.Module):
    """v = dx/dphi from a network that predicts v, or e with v = (e - s x) / a.

    As the field of a :class:`~zoo.models.bijections.continuous.ContinuousFlow` its time is phi / ``end``.

    Args:
        network: ``f(t, x)`` or ``f(t, x, context)``, told 2 phi / pi.
        prediction: ``v`` or ``eps``.
        end: the angle of the latents.
    """

    def __init__(self, network: nn.Module, prediction: Prediction, end: float) -> None:
        super().__init__()
        self.network, self.prediction, self.end = network, prediction, end

    def forward(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Times ``()`` or ``(B,)`` in [0, 1] and ``(B, ...)`` to dx/dt of that shape."""
        return self.end * self.at(t * self.end, x, context)

    def at(self, angle: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """v at angles ``()`` or ``(B,)``."""
        out = self.predict(angle, x, context)
        if self.prediction == "v":
            return out
        return (out - _wide(angle.sin(), x) * x) / _wide(angle.cos(), x)

    def predict(self, angle: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """What the network itself predicts."""
        time = angle * (2 / math.pi)
        return self.network(time, x) if context is None else self.network(time, x, context)


def schedule_angles(timesteps: int, schedule: Schedule, least_noise: float = 0.0) -> Tensor:
    """Angles phi_0 = 0 .. phi_T with cos^2(phi_t) = prod_{i <= t} (1 - beta_i), float64 ``(T + 1,)``.

    Where the schedule begins with less noise than sin(phi_1) = ``least_noise``, its first part is left out
    and the rest divided into T steps.

    Raises:
        ZooError: even the last step has no more noise than that.
    """
    if schedule == "linear":
        beta = torch.linspace(0.1 / timesteps, 20 / timesteps, timesteps, dtype=torch.float64, device="cpu")
    else:
        place = torch.arange(timesteps + 1, dtype=torch.float64, device="cpu") / timesteps
        signal = torch.cos((place + 0.008) / 1.008 * (math.pi / 2)).square()
        beta = 1 - signal[1:] / signal[:-1]
    log_signal = torch.log1p(-beta.clamp(max=LARGEST_BETA)).cumsum(0)
    angle = torch.atan2((-torch.expm1(log_signal)).sqrt(), (0.5 * log_signal).exp())
    if not least_noise < float(angle[-1].sin()):
        raise ZooError(
            "model.first_noise must be below the noise of the last step; the default is 0.4 cells."
        )
    if angle[0].sin() < least_noise:
        places = np.arange(timesteps)
        first = np.interp(math.asin(least_noise), angle.numpy(), places)
        angle = torch.from_numpy(np.interp(np.linspace(first, places[-1], timesteps), places, angle.numpy()))
    return torch.cat([angle.new_zeros(1), angle])


def discretised_gaussian_log_prob(x: Tensor, mean: Tensor, std: float, levels: int) -> Tensor:
    """Log mass of the level ``x`` under a Gaussian cut into unit cells, in nats (Ho et al., eq. 13).

    The first and the last level take the tails, so the masses sum to one.

    Args:
        x: integers ``0..levels-1`` in a floating dtype.
        mean: in levels.
        std: in levels.
        levels: number of levels.
    """
    centred = x - mean
    # seen from the upper tail, where the two distribution functions differ without cancelling
    upper = torch.where(x >= levels - 1, math.inf, centred + 0.5)
    lower = torch.where(x <= 0, -math.inf, centred - 0.5)
    near = torch.where(centred > 0, -lower, upper) / std
    far = torch.where(centred > 0, -upper, lower) / std
    log_near, log_far = torch.special.log_ndtr(near), torch.special.log_ndtr(far)
    return log_near + torch.log1p(-(log_far - log_near).exp())


def _kl_coefficients(angle: Tensor, variance: str) -> tuple[Tensor, Tensor]:
    """weight and constant with KL_t = constant D + weight |v - prediction|^2, for t = 2..T.

    The means differ by those of x_0, s_t (v - prediction), so that with both variances the posterior's the KL
    is 1/2 (SNR(t-1) - SNR(t)) s_t^2 |v - prediction|^2 (Kingma et al. 2021, eq. 14).
    """
    before, after = angle[1:-1], angle[2:]
    weight = 0.5 * ((after.tan() / before.tan()).square() - 1) * after.cos().square()
    if variance == "small":
        return weight, torch.zeros_like(weight)
    small_over_large = (before.sin() / after.sin()).square()
    return weight * small_over_large, 0.5 * (small_over_large - 1 - small_over_large.log())


def _step_variance(here: float, there: float, variance: str) -> float:
    """Variance of a step from an angle to a smaller one: of q(x_s | x_t, x_0), or of q(x_t | x_s)."""
    ratio = math.cos(here) / math.cos(there)
    large = math.sin(here) ** 2 - (ratio * math.sin(there)) ** 2
    return large * (math.sin(there) / math.sin(here)) ** 2 if variance == "small" else large


def _posterior_mean(here: float, there: float, x: Tensor, clean: Tensor) -> Tensor:
    """Mean of q(x_s | x_t = x, x_0 = clean) (Ho et al., eq. 7, for any two steps)."""
    ratio = math.cos(here) / math.cos(there)
    large = _step_variance(here, there, "large")
    near, far = math.sin(there) ** 2, math.sin(here) ** 2
    return (ratio * near / far) * x + (math.cos(there) * large / far) * clean


def _wide(values: Tensor, x: Tensor) -> Tensor:
    """``()`` or ``(B,)`` to a shape that multiplies ``(B, ...)``."""
    return values.reshape(-1, *[1] * (x.ndim - 1))
