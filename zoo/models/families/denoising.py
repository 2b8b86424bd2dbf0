"""The chain of Gaussian noising and denoising steps of diffusion models, in closed form.

Data x_0 are noised with q(x_t | x_0) = N(a_t x_0, s_t^2 I), where a_t^2 + s_t^2 = 1. So a step is an angle
phi with a = cos(phi) and s = sin(phi), from 0 at the data to almost pi/2 at the latents. The velocity is
v = dx/dphi = a e - s x_0, where e is the noise.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from zoo.checks import NotNegativeFloat, settings
from zoo.errors import ZooError

Prediction = Literal["eps", "v"]
Variance = Literal["small", "large"]
LARGEST_BETA = 0.999  # Nichol & Dhariwal 2021, section 3.2


@settings
class Schedule:
    """The noise schedule of a diffusion: the number of steps and the noise of each.

    Attributes:
        timesteps: number T of steps.
        form: ``cosine`` (Nichol & Dhariwal 2021, eq. 17) or ``linear`` (beta from 0.1/T to 20/T, as Ho et al.
            2020 have it at T = 1000).
        first_noise: least standard deviation of the noise in x_1 of integers, in cells. With noise far
            below a cell a network only learns its numerical precision, and each halving costs the bound up to
            one bit per dimension. With 256 levels both schedules begin above the default. The density by the
            ODE has no cells and ignores it.
    """

    timesteps: Annotated[int, Ge(2)] = 1000
    form: Literal["cosine", "linear"] = "cosine"
    first_noise: NotNegativeFloat = 0.4


class VelocityField(nn.Module):
    """The velocity v = dx/dphi by a network that predicts v, or e with v = (e - s x) / a.

    As the field of a :class:`~zoo.models.bijections.continuous.ContinuousFlow` it has the time phi / ``end``.

    Args:
        network: ``f(t, x)`` or ``f(t, x, context)`` with t = 2 phi / pi.
        prediction: quantity that the network predicts, ``v`` or ``eps``.
        end: angle of the latents.
    """

    def __init__(self, network: nn.Module, prediction: Prediction, end: float) -> None:
        super().__init__()
        self.network, self.prediction, self.end = network, prediction, end

    def forward(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return dx/dt, in the shape of ``x``, at times ``()`` or ``(B,)`` in [0, 1]."""
        return self.end * self.at(t * self.end, x, context)

    def at(self, angle: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return v at angles ``()`` or ``(B,)``."""
        out = self.predict(angle, x, context)
        if self.prediction == "v":
            return out
        return (out - wide(angle.sin(), x) * x) / wide(angle.cos(), x)

    def predict(self, angle: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the output of the network at angles ``()`` or ``(B,)``."""
        time = angle * (2 / math.pi)
        return self.network(time, x) if context is None else self.network(time, x, context)


def schedule_angles(timesteps: int, form: Literal["cosine", "linear"], least_noise: float = 0.0) -> Tensor:
    """Return the angles phi_0 = 0 .. phi_T of a schedule, float64 ``(T + 1,)``.

    They satisfy cos^2(phi_t) = prod_{i <= t} (1 - beta_i). If the schedule begins with less noise than
    sin(phi_1) = ``least_noise``, its first part is left out and the rest is divided into T steps.

    Raises:
        ZooError: even the last step has less noise than ``least_noise``.
    """
    if form == "linear":
        beta = torch.linspace(0.1 / timesteps, 20 / timesteps, timesteps, dtype=torch.float64, device="cpu")
    else:
        place = torch.arange(timesteps + 1, dtype=torch.float64, device="cpu") / timesteps
        signal = torch.cos((place + 0.008) / 1.008 * (math.pi / 2)).square()
        beta = 1 - signal[1:] / signal[:-1]
    log_signal = torch.log1p(-beta.clamp(max=LARGEST_BETA)).cumsum(0)
    angle = torch.atan2((-torch.expm1(log_signal)).sqrt(), (0.5 * log_signal).exp())
    if not least_noise < float(angle[-1].sin()):
        raise ZooError(
            "model.schedule.first_noise must be below the noise of the last step; the default is 0.4 cells."
        )
    if angle[0].sin() < least_noise:
        places = np.arange(timesteps)
        first = np.interp(math.asin(least_noise), angle.numpy(), places)
        angle = torch.from_numpy(np.interp(np.linspace(first, places[-1], timesteps), places, angle.numpy()))
    return torch.cat([angle.new_zeros(1), angle])


def discretised_gaussian_log_prob(x: Tensor, mean: Tensor, std: float, levels: int) -> Tensor:
    """Return the log mass of the level ``x`` under a Gaussian cut into unit cells, in nats.

    The first and the last level include the tails, so the masses sum to one (Ho et al. 2020, eq. 13).

    Args:
        x: integers ``0..levels-1`` in a floating dtype.
        mean: mean, in levels.
        std: standard deviation, in levels.
        levels: number of levels.
    """
    centred = x - mean
    # computed from the nearer tail, so that the difference of the distribution functions does not cancel
    upper = torch.where(x >= levels - 1, math.inf, centred + 0.5)
    lower = torch.where(x <= 0, -math.inf, centred - 0.5)
    near = torch.where(centred > 0, -lower, upper) / std
    far = torch.where(centred > 0, -upper, lower) / std
    log_near, log_far = torch.special.log_ndtr(near), torch.special.log_ndtr(far)
    return log_near + torch.log1p(-(log_far - log_near).exp())


def kl_coefficients(angle: Tensor, variance: Variance) -> tuple[Tensor, Tensor]:
    """Return weight and constant of KL_t = constant D + weight |v - prediction|^2 in nats, for t = 2..T.

    The true and the predicted x_0 differ by s_t (v - prediction). With the posterior's variance in both, the
    KL is 1/2 (SNR(t-1) - SNR(t)) s_t^2 |v - prediction|^2 (Kingma et al. 2021, eq. 14).
    """
    before, after = angle[1:-1], angle[2:]
    weight = 0.5 * ((after.tan() / before.tan()).square() - 1) * after.cos().square()
    if variance == "small":
        return weight, torch.zeros_like(weight)
    small_over_large = (before.sin() / after.sin()).square()
    return weight * small_over_large, 0.5 * (small_over_large - 1 - small_over_large.log())


def step_variance(here: float, there: float, variance: Variance) -> float:
    """Return the variance of a denoising step from an angle to a smaller one.

    ``small`` is the variance of q(x_s | x_t, x_0), ``large`` the variance of q(x_t | x_s).
    """
    ratio = math.cos(here) / math.cos(there)
    large = math.sin(here) ** 2 - (ratio * math.sin(there)) ** 2
    return large * (math.sin(there) / math.sin(here)) ** 2 if variance == "small" else large


def posterior_mean(here: float, there: float, x: Tensor, clean: Tensor) -> Tensor:
    """Return the mean of q(x_s | x_t = x, x_0 = clean) (Ho et al. 2020, eq. 7, for any two steps)."""
    ratio = math.cos(here) / math.cos(there)
    large = step_variance(here, there, "large")
    near, far = math.sin(there) ** 2, math.sin(here) ** 2
    return (ratio * near / far) * x + (math.cos(there) * large / far) * clean


def wide(values: Tensor, x: Tensor) -> Tensor:
    """Reshape ``()`` or ``(B,)`` to broadcast over ``x`` ``(B, ...)``."""
    return values.reshape(-1, *[1] * (x.ndim - 1))
