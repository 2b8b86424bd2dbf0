"""Diffusion: a chain of small denoising steps, and the ODE that is its limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.checks import NotNegativeFloat, Positive, Share, checked, settings
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.continuous import ContinuousFlow, Solver
from zoo.models.core import rng
from zoo.models.core.capabilities import Diagnostic, HasSampleSteps
from zoo.models.core.distributions import LOG_2PI
from zoo.models.core.functional import sum_event
from zoo.models.core.settings import Pixels
from zoo.models.families.continuous import ContinuousModel, Field, make_field
from zoo.models.families.denoising import (
    Prediction,
    Schedule,
    Variance,
    VelocityField,
    discretised_gaussian_log_prob,
    kl_coefficients,
    posterior_mean,
    schedule_angles,
    step_variance,
    wide,
)
from zoo.models.networks.unet import UNetSettings
from zoo.models.networks.vector_field import PatchSettings

LEAST_SIGNAL = 0.006  # signal left at the end of the ODE: that of the linear schedule with 1000 steps
ODE_EXAMPLES = 50  # examples whose density by the ODE is reported

Weighting = Literal["auto", "simple", "likelihood"]


@settings
class Sampler:
    """The sampler and its settings.

    Attributes:
        method: ``ancestral``, ``ddim`` or ``ode``, see :class:`Diffusion`.
        steps: number of steps that the first two methods visit; None for all.
        guidance: weight w of classifier-free guidance in the first two methods,
            (1 + w) v(x, y) - w v(x) (Ho & Salimans 2022, eq. 6); above 0 it needs a conditional model trained
            with ``label_dropout`` above 0.
    """

    method: Literal["ancestral", "ddim", "ode"] = "ancestral"
    steps: Positive | None = 100
    guidance: NotNegativeFloat = 0.0


class Diffusion(ContinuousModel, HasSampleSteps):
    r"""Denoising diffusion (Ho et al. 2020, arXiv:2006.11239; Nichol & Dhariwal 2021; Salimans & Ho 2022).

    Data x_0 are noised in T steps, and a network learns to undo one step; the closed forms and the notation
    are those of :mod:`zoo.models.families.denoising`. The input of the network includes the angle phi of
    a step, as 2 phi / pi. It predicts the noise e (``eps``) or the velocity v = dx/dphi = a e - s x_0
    (``v``); each follows from the other:

        e = s x_t + a v,    x_0 = a x_t - s v.

    **Training** regresses the predicted quantity at a random step, with equal weights of the steps drawn.
    ``weighting`` chooses how often each is drawn:

    - ``simple``: uniformly (Ho et al., eq. 14);
    - ``likelihood``: in proportion to its weight in the bound, step 1 by the weight that the squared error
      has in a Gaussian log p(x_0 | x_1). So the mean loss is the bound, up to a factor and a constant (Nichol
      & Dhariwal 2021, section 3.3; Song et al. 2021, "Maximum likelihood training of score-based diffusion
      models", section 4.3). Most draws then have little noise, which a bound of 256 levels mostly consists
      of and the uniform steps of a cosine schedule seldom visit. It is the better bound and the worse Fréchet
      distance (``results/studies/diffusion_weighting.md``);
    - ``auto``: ``likelihood`` where ``log_prob`` is the bound and the network predicts v, else ``simple``.

    **Sampling** starts from x_T ~ N(0, I) and visits ``sampler.steps`` of the steps. ``ancestral`` draws from
    p(x_s | x_t) = q(x_s | x_t, x_0 = prediction); ``ddim`` rotates by the angle between the steps, x_s =
    cos(d) x_t - sin(d) v (Song et al. 2021); ``ode`` follows dx/dphi = v by the solver of
    :class:`~zoo.models.bijections.continuous.ContinuousFlow`. The last step returns the predicted x_0, for
    images rounded to the nearest level. Predictions of x_0 are clipped to the range of the pixels (Ho et
    al.).

    **Likelihood**, in nats:

    - ``elbo``, a lower bound of all T steps (Ho et al., eq. 5), log p(x_0 | x_1) - KL(q(x_T | x_0) || p)
      - sum_{t=2..T} KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)). On integers, which lie at the centres of
      their cells, the first term is the mass of a Gaussian cut into cells; on continuous data its density.
      The sum is an unbiased estimate by ``terms`` steps, stratified by their weight; or all of them.
    - ``ode``, the density by the probability flow dx/dphi = v (Song et al. 2021, eq. 39): an estimate, up to
      the tolerance of the solver. Integers are dequantised, in training too.
    - ``auto``: ``elbo`` on integers, ``ode`` on continuous data.

    Training uses the same data as ``log_prob``: for ``elbo`` integers at the centres of their cells, for
    ``ode`` dequantised ones. A network trained for the bound is also judged by its ODE, as Song et al. do
    with the weights of Ho et al., see :meth:`diagnostics`.

    Args:
        spec: the data; continuous data should have a scale of about one.
        schedule: number of steps and their noise.
        prediction: quantity that the network predicts, ``v`` or ``eps``.
        variance: variance of p(x_s | x_t): ``small``, the variance of q(x_s | x_t, x_0), or ``large``, the
            variance of q(x_t | x_s).
        likelihood: kind of likelihood, see above.
        weighting: steps of training, see above; ``likelihood`` needs the prediction ``v``, since the error of
            the noise e has an unbounded weight where little signal is left.
        terms: number of steps in an estimate of the bound; None for all.
        sampler: the sampler.
        conditional: condition the network on the label.
        label_dropout: share of the training examples of a conditional model without their label.
        field: network of images: ``unet`` or ``patch``.
        hidden: widths of the hidden layers of the network (vectors).
        unet: size of the U-Net.
        patch: size of the patch field.
        solver: solver of the ODE.

    Raises:
        ZooError: guidance for a model without labels or label dropout or with the sampler ``ode``; the
            weighting ``likelihood`` with the prediction ``eps``; too much noise in the first step.
    """

    family = "diffusion"
    objective = "matching"

    angles: Tensor
    weights: Tensor
    cumulative: Tensor
    drawn: Tensor

    for_vectors = ("hidden",)
    for_images = ("field", "unet", "patch")

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        schedule: Schedule = Schedule(),
        prediction: Prediction = "v",
        variance: Variance = "small",
        likelihood: Literal["auto", "elbo", "ode"] = "auto",
        weighting: Weighting = "auto",
        terms: Positive | None = 32,
        sampler: Sampler = Sampler(),
        conditional: bool = False,
        label_dropout: Share = 0.1,
        field: Field = "unet",
        hidden: Sequence[Positive] = (128, 128, 128),
        unet: UNetSettings = UNetSettings(),
        patch: PatchSettings = PatchSettings(),
        solver: Solver = Solver(),
    ) -> None:
        if sampler.guidance and (not conditional or sampler.method == "ode"):
            raise ZooError("model.sampler.guidance needs conditional=true and method ancestral or ddim.")
        if sampler.guidance and not label_dropout:
            raise ZooError(
                "model.sampler.guidance uses the prediction without a label, which label_dropout=0 never "
                "trains; set model.label_dropout above 0, such as 0.1."
            )
        if weighting == "likelihood" and prediction == "eps":
            raise ZooError("model.weighting=likelihood needs model.prediction=v; use model.weighting=simple.")
        by_bound = likelihood == "elbo" or (likelihood == "auto" and spec.levels is not None)
        cell = 2 / spec.levels if spec.levels is not None and by_bound else 0.0
        timesteps = schedule.timesteps
        angle = schedule_angles(timesteps, schedule.form, schedule.first_noise * cell)
        network = make_field(
            spec, field=field, hidden=hidden, unet=unet, patch=patch, conditional=conditional
        )
        end = min(float(angle[-1]), math.acos(LEAST_SIGNAL))
        ode = ContinuousFlow(VelocityField(network, prediction, end), solver)
        super().__init__(spec, ode, pixels=Pixels(preprocessing="centre"), conditional=conditional)
        self.timesteps, self.prediction, self.variance = timesteps, prediction, variance
        self.by_bound = by_bound
        self.likelihood = "lower bound" if self.by_bound else "estimate"
        self.terms = min(terms or timesteps, timesteps - 1)
        self.sampler, self.sample_steps = sampler, min(sampler.steps or timesteps, timesteps)
        self.label_dropout = label_dropout
        if weighting == "auto":
            weighting = "likelihood" if by_bound and prediction == "v" else "simple"
        self.weighting = weighting
        self.grid: list[float] = angle.tolist()
        # KL_t = constant_t D + weight_t |v - prediction of v|^2, t = 2..T
        weight, constant = kl_coefficients(angle, variance)
        self.constant, self.weight = float(constant.sum()), float(weight.sum())
        self.register_buffer("angles", angle.float(), persistent=False)
        self.register_buffer("weights", weight.float(), persistent=False)
        self.register_buffer("cumulative", (weight.cumsum(0) / weight.sum()).float(), persistent=False)
        first = 0.5 * (math.sin(self.grid[1]) / self.decoder_std()) ** 2
        cumulative = torch.cat([weight.new_tensor([first]), weight]).cumsum(0)
        self.register_buffer("drawn", (cumulative / cumulative[-1]).float(), persistent=False)

    @property
    def velocity(self) -> VelocityField:
        """The network as a velocity field dx/dphi."""
        field = self.ode.field
        assert isinstance(field, VelocityField)
        return field

    def matching_loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the squared error of the predicted noise or velocity at a random step, over D, ``(B,)``.

        Args:
            x: ``(B, *spec.shape)`` in data space.
            y: labels ``(B,)`` of a conditional model.
        """
        x, context = x.to(device=self.device, dtype=self.dtype), self.one_hot(y, len(x))
        x = self._state(x)
        flat = x.flatten(1)[:, :1]
        step = self._steps(rng.uniform(flat).flatten())
        e = rng.normal(x)
        angle = self.angles[step].to(x.dtype)
        a, s = wide(angle.cos(), x), wide(angle.sin(), x)
        if context is not None and self.training:
            context = context * (rng.uniform(flat) >= self.label_dropout)
        target = e if self.prediction == "eps" else a * e - s * x
        return (self.velocity.predict(angle, a * x + s * e, context) - target).square().flatten(1).mean(1)

    def _steps(self, place: Tensor) -> Tensor:
        """Return the steps 1..T of training at the places ``(B,)`` in [0, 1) of their distribution."""
        if self.weighting == "simple":
            index = (place * self.timesteps).long()
        else:
            index = torch.searchsorted(self.drawn, place.to(self.drawn.dtype), right=True)
        return 1 + index.clamp(max=self.timesteps - 1)

    def _state(self, x: Tensor) -> Tensor:
        """Return x_0 of the chain; integers are mapped to [-1, 1], at the centres of cells or dequantised."""
        if self.dequantise is not None:
            x = x + 0.5 if self.by_bound else self.dequantise(x)
        return self.before(x)[0]

    # Likelihood -----------------------------------------------------------------------------------------

    @property
    def unbiased_weights(self) -> bool:
        return not self.by_bound and self.exact_trace

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._bound(x, context) if self.by_bound else super()._log_prob(x, context)

    def _bound(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Return the evidence lower bound, ``(B,)`` nats: on average over its noise at most log p(x)."""
        start = self._state(x)
        a, s = math.cos(self.grid[-1]), math.sin(self.grid[-1])
        prior = 0.5 * sum_event(s**2 + (a * start).square() - 1 - 2 * math.log(s))
        between = self.constant * self.spec.dim + self._squared_errors(start, context)
        return self._decoder(x, start, context) - prior - between

    def _decoder(self, x: Tensor, start: Tensor, context: Tensor | None) -> Tensor:
        """Return log p(x | x_1) with x_1 drawn from q, ``(B,)`` nats."""
        first, std, levels = self.grid[1], self.decoder_std(), self.spec.levels
        noisy = math.cos(first) * start + math.sin(first) * rng.normal(start)
        mean, _ = self.denoise(first, noisy, context)
        if levels is None:
            return sum_event(-0.5 * (((x - mean) / std).square() + LOG_2PI) - math.log(std))
        centre = (mean + 1) * (levels / 2) - 0.5
        return sum_event(discretised_gaussian_log_prob(x, centre, std * levels / 2, levels))

    def decoder_std(self) -> float:
        """Return the standard deviation of p(x | x_1), in units of x_0.

        With ``large`` variance it is the deviation of the noise in x_1. With ``small`` the variance is half
        of this, since q(x_0 | x_1, x_0) has variance zero (the code of Ho et al. uses the next step's
        variance, 0.54 of it in their schedule).
        """
        return math.sin(self.grid[1]) * (1.0 if self.variance == "large" else math.sqrt(0.5))

    def _squared_errors(self, start: Tensor, context: Tensor | None) -> Tensor:
        """Return sum_{t=2..T} weight_t |v - prediction|^2, or an unbiased estimate of it, ``(B,)``."""
        n, total = len(start), torch.zeros(len(start), dtype=torch.float64, device=start.device)
        every = self.terms == self.timesteps - 1
        where = rng.uniform(start.flatten(1)[:, :1]).flatten()
        for first in range(0, self.terms, rng.COPIES_AT_ONCE):
            copies = min(rng.COPIES_AT_ONCE, self.terms - first)
            part = torch.arange(first, first + copies, device=start.device)[:, None]
            if every:
                index = part.expand(copies, n)
                share = self.weights[index]
            else:  # one step from each of equal strata of the cumulative weight
                place = ((part + where) / self.terms).to(self.cumulative.dtype)
                index = torch.searchsorted(self.cumulative, place, right=True).clamp(max=self.timesteps - 2)
                share = torch.full_like(place, self.weight / self.terms)
            angle = self.angles[index.flatten() + 2].to(start.dtype)
            # copies outside, examples inside: keyed noise then depends on the example only
            x = start.repeat(copies, *[1] * (start.ndim - 1))
            e = rng.normal(x)
            a, s = wide(angle.cos(), x), wide(angle.sin(), x)
            labels = None if context is None else context.repeat(copies, 1)
            _, predicted = self.denoise(angle, a * x + s * e, labels)
            errors = sum_event((a * e - s * x - predicted).square())
            total += (share * errors.view(copies, n)).sum(0).double()
        return total.to(start.dtype)

    def likelihood_details(self) -> dict[str, Any]:
        if not self.by_bound:
            return super().likelihood_details()
        return {"bound": "ELBO", "timesteps": self.timesteps, "terms": self.terms + 1}

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]:
        """Return the ``straightness`` and, beside a bound, the density of the same weights by the ODE.

        The density is ``bits_per_dim/ode`` of integers, dequantised uniformly, or ``nll/ode``. It is an
        estimate from at most the first 50 examples, the same as for a model with ``likelihood="ode"`` and
        these weights.
        """
        numbers = super().diagnostics(x)
        if not self.by_bound:
            return numbers
        x = x[:ODE_EXAMPLES]
        by_ode = super()._log_prob
        with rng.keyed(rng.content_keys(x)):
            if self.conditional:
                nats = -self.label_mixture(by_ode, x, unbiased=self.exact_trace).double()
            else:
                nats = -by_ode(x).double()
        name, unit, scale = "nll/ode", "nats", 1.0
        if self.spec.levels is not None:
            name, unit, scale = "bits_per_dim/ode", "bits/dim", self.spec.dim * math.log(2)
        error = float(nats.std()) / math.sqrt(len(x)) / scale if len(x) > 1 else None
        details = super().likelihood_details()
        return numbers | {name: Diagnostic(float(nats.mean()) / scale, unit, error, len(x), details)}

    def sampling_details(self) -> dict[str, Any]:
        if self.sampler.method == "ode":
            return {"sampler": "ode", **super().sampling_details()}
        guidance = {"guidance": self.sampler.guidance} if self.sampler.guidance else {}
        return {"sampler": self.sampler.method, "sample_steps": self.sample_steps, **guidance}

    # Sampling -------------------------------------------------------------------------------------------

    def denoise(
        self, angle: Tensor | float, x: Tensor, context: Tensor | None, guidance: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return the predictions of x_0 and of v at an angle ``()`` or ``(B,)``.

        For integers, x_0 is clipped to their range and v is computed from it.
        """
        angle = torch.as_tensor(angle, dtype=x.dtype, device=x.device)
        v = self.velocity.at(angle, x, context)
        if guidance and context is not None:
            v = (1 + guidance) * v - guidance * self.velocity.at(angle, x, torch.zeros_like(context))
        a, s = wide(angle.cos(), x), wide(angle.sin(), x)
        clean = a * x - s * v
        if self.spec.levels is not None:
            clean = clean.clamp(-1, 1)
            v = (a * x - clean) / s
        return clean, v

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        if self.sampler.method == "ode":
            return super()._sample(n, temperature, context)
        x = self.base.sample(n, temperature, context)
        visited = torch.linspace(self.timesteps, 0, self.sample_steps + 1, dtype=torch.float64).round().long()
        for t, s in zip(visited[:-1].tolist(), visited[1:].tolist(), strict=True):
            here, there = self.grid[t], self.grid[s]
            clean, v = self.denoise(here, x, context, self.sampler.guidance)
            if s == 0:
                x = clean
            elif self.sampler.method == "ddim":
                x = math.cos(here - there) * x - math.sin(here - there) * v
            else:
                mean = posterior_mean(here, there, x, clean)
                std = math.sqrt(step_variance(here, there, self.variance))
                x = mean + temperature * std * rng.normal(x)
        return self._to_data(x)
