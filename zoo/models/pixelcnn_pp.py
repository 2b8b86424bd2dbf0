"""PixelCNN++: an autoregressive model of whole pixels, mixtures of discretised logistics."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.checks import whole, within
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.core.functional import soft_bound, sum_event
from zoo.models.core.model import GenerativeModel
from zoo.models.families.decoder_likelihood import SMALLEST_BIN_SCALE, discretised_logistic_log_prob
from zoo.models.networks.pixelcnn_pp import PixelCNNPP as Network


class PixelCNNPP(GenerativeModel):
    r"""log p(x) = sum_ij log p(x_ij | pixels before), an exact probability of integer images.

    A pixel of C channels is a mixture of K components that its channels share (Salimans et al. 2017,
    arXiv:1701.05517, section 2.1-2.2), with the channels in turn (red, green, blue):

        p(x_ij | before) = sum_k w_k prod_c P(x_c; m_kc + sum_{d<c} a_kcd x_d, s_kc),

    where P is the mass that a logistic puts on the level's cell, the first and last level taking the tails,
    and w, m, s and a come from the network; so the masses of a pixel sum to one. In the sum the channels x_d
    are scaled to [-1, 1], and |a| < 1.

    A sample is a draw of the component, then of each channel by the inverse distribution function.
    ``temperature`` divides the logits of w and multiplies the scales s.

    Args:
        spec: the data: images with levels.
        width: features of each stream of the network.
        blocks: residual blocks at each size, each way.
        scales: sizes at most; sides halve while both are longer than 2.
        components: K.
        dropout: share of features dropped in training.
        conditional: shift every block by the label (the paper's class-conditional model).

    Raises:
        ZooError: data that are not images of integers.
    """

    family = "autoregressive"
    sampling = "sequential"

    def __init__(
        self,
        spec: DataSpec,
        width: int = 20,
        blocks: int = 1,
        scales: int = 3,
        components: int = 5,
        dropout: float = 0.0,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, conditional)
        if not spec.is_image or spec.levels is None:
            raise ZooError("PixelCNN++ models images of integers; use model=pixelcnn for other data.")
        whole(1, width=width, blocks=blocks, scales=scales, components=components)
        within(0, 1, dropout=dropout)
        self.components, self.levels = components, spec.levels
        channels = spec.shape[0]
        self.pairs = channels * (channels - 1) // 2
        outputs = components * (1 + 2 * channels + self.pairs)
        self.network = Network(
            channels, outputs, (spec.shape[1], spec.shape[2]), width, blocks, scales, dropout, self.context
        )
        with torch.no_grad():  # components that start alike would stay alike
            assert self.network.output.bias is not None
            bias = self.network.output.bias.zero_().view(components, -1)
            bias[:, 1 : 1 + channels] = torch.linspace(-1, 1, components + 2)[1:-1, None]

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        scaled = self._scale(x)
        log_weight, mean, log_scale, slope = self._mixture(self.network(scaled, context))
        location = self._levels(mean + _weighted(slope, scaled[:, None]))
        log_mass = discretised_logistic_log_prob(x[:, None], location, log_scale, self.levels)
        wide = torch.promote_types(x.dtype, torch.float32)
        return sum_event((log_weight.to(wide) + log_mass.to(wide).sum(2)).logsumexp(1))

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        channels = self.spec.shape[0]
        # One draw for the whole example: its numbers then do not depend on the order of the steps.
        like = torch.empty(n, channels + 1, *self.spec.shape[1:], dtype=self.dtype, device=self.device)
        u = rng.uniform(like)

        def step(row: int, column: int, output: Tensor) -> Tensor:
            return self._scale(self._draw(output, u[:, :, row, column], temperature))

        pixels = self.network.generate(n, step, context)
        return torch.round(self._levels(pixels)).clamp(0, self.levels - 1)

    def _draw(self, output: Tensor, u: Tensor, temperature: float) -> Tensor:
        """Pixels ``(B, C)`` from the network's outputs ``(B, outputs)`` and uniforms ``(B, 1 + C)``."""
        log_weight, mean, log_scale, slope = (p[..., 0, 0] for p in self._mixture(output[..., None, None]))
        if temperature == 0:
            k = log_weight.argmax(1)
        else:
            edges = (log_weight / temperature).softmax(1).cumsum(1)[:, :-1]
            k = (u[:, :1] >= edges).sum(1)
        rows = torch.arange(len(k), device=k.device)
        mean, log_scale, slope = mean[rows, k], log_scale[rows, k], slope[rows, k]
        spread = temperature * log_scale.exp() * torch.logit(u[:, 1:], torch.finfo(u.dtype).eps)
        x = torch.zeros_like(mean)
        for channel in range(x.shape[1]):
            location = self._levels(mean[:, channel] + (slope[:, channel] * self._scale(x)).sum(1))
            x[:, channel] = torch.round(location + spread[:, channel]).clamp(0, self.levels - 1)
        return x

    def _mixture(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log weights ``(B, K, H, W)``; means (in [-1, 1]) and log scales (in levels) ``(B, K, C, H, W)``;
        slopes ``(B, K, C, C, H, W)``, zero unless the second channel comes before the first."""
        channels = self.spec.shape[0]
        parts = output.unflatten(1, (self.components, -1)).split([1, channels, channels, self.pairs], 2)
        weight, mean, raw, coefficients = parts
        log_scale = soft_bound(raw, math.log(SMALLEST_BIN_SCALE), math.log(self.levels))
        slope = output.new_zeros(*mean.shape[:3], channels, *mean.shape[3:])
        later, earlier = torch.tril_indices(channels, channels, -1, device=output.device)
        slope[:, :, later, earlier] = torch.tanh(coefficients)
        return weight[:, :, 0].log_softmax(1), mean, log_scale, slope

    def _scale(self, x: Tensor) -> Tensor:
        return x * (2 / (self.levels - 1)) - 1

    def _levels(self, scaled: Tensor) -> Tensor:
        return (scaled + 1) * ((self.levels - 1) / 2)


def _weighted(slope: Tensor, x: Tensor) -> Tensor:
    """sum_d slope_cd x_d for each channel c: ``(B, K, C, C, H, W)`` and ``(B, 1, C, H, W)``."""
    return (slope * x[:, :, None]).sum(3)
