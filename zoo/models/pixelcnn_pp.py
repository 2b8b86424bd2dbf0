"""PixelCNN++: an autoregressive model of whole pixels, with mixtures of discretised logistics."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.checks import Positive, Share, checked
from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.core.functional import from_symmetric, soft_bound, sum_event, to_symmetric
from zoo.models.core.model import GenerativeModel
from zoo.models.families.decoder_likelihood import SMALLEST_BIN_SCALE, discretised_logistic_log_prob
from zoo.models.networks.pixelcnn_pp import PixelCNNPP as Network


class Mixture(NamedTuple):
    """The parameters of the K logistics at each pixel.

    Attributes:
        log_weight: ``(B, K, H, W)``, in nats.
        mean: ``(B, K, C, H, W)``, in [-1, 1].
        log_scale: ``(B, K, C, H, W)``, the log of a scale in levels.
        slope: ``(B, K, C, C, H, W)``, the coefficient of channel d in the mean of channel c; 0 unless d < c.
    """

    log_weight: Tensor
    mean: Tensor
    log_scale: Tensor
    slope: Tensor

    def location(self, x: Tensor) -> Tensor:
        """Return the means m_c + sum_{d<c} a_cd x_d, ``(B, K, C, H, W)``, given pixels in [-1, 1]."""
        return self.mean + (self.slope * x[:, None, None]).sum(3)


class PixelCNNPP(GenerativeModel):
    r"""An autoregressive model of integer images, with an exact probability.

    log p(x) = sum_ij log p(x_ij | pixels before). A pixel of C channels follows a mixture of K components
    that its channels share (Salimans et al. 2017, arXiv:1701.05517, sections 2.1 and 2.2), with the channels
    in order (red, green, blue):

        p(x_ij | before) = sum_k w_k prod_c P(x_c; m_kc + sum_{d<c} a_kcd x_d, s_kc),

    where P is a discretised logistic whose first and last level include the tails, and w, m, s and a are
    outputs of the network; so the masses of a pixel sum to one. In the sum, the channels x_d are scaled to
    [-1, 1], and |a| < 1.

    Sampling draws the component, then each channel by the inverse distribution function. ``temperature``
    divides the logits of w and multiplies the scales s.

    Args:
        spec: the data, images of integers.
        width: features of each stream of the network.
        blocks: residual blocks at each size, on the way down and on the way up.
        scales: largest number of sizes; sides halve while both are longer than 2.
        components: number K of logistics.
        dropout: share of features dropped in training.
        conditional: shift every block by the label (the paper's class-conditional model).

    Raises:
        ZooError: the data are not images of integers, or a setting is outside its range.
    """

    family = "autoregressive"
    sampling = "sequential"
    data_kind = "integer images"

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        width: Positive = 20,
        blocks: Positive = 1,
        scales: Positive = 3,
        components: Positive = 5,
        dropout: Share = 0.0,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, conditional)
        assert spec.levels is not None  # the data are integers, see ``data_kind``
        self.components, self.levels = components, spec.levels
        channels = spec.shape[0]
        self.pairs = channels * (channels - 1) // 2
        outputs = components * (1 + 2 * channels + self.pairs)
        self.network = Network(
            channels,
            outputs,
            (spec.shape[1], spec.shape[2]),
            width=width,
            blocks=blocks,
            scales=scales,
            dropout=dropout,
            context=self.context,
        )
        with torch.no_grad():  # equal components would stay equal
            assert self.network.output.bias is not None
            bias = self.network.output.bias.zero_().view(components, -1)
            bias[:, 1 : 1 + channels] = torch.linspace(-1, 1, components + 2)[1:-1, None]

    def mixture(self, output: Tensor) -> Mixture:
        """Return the mixtures that the network's output ``(B, outputs, H, W)`` parametrises."""
        channels = self.spec.shape[0]
        parts = output.unflatten(1, (self.components, -1)).split([1, channels, channels, self.pairs], 2)
        weight, mean, raw, coefficients = parts
        log_scale = soft_bound(raw, math.log(SMALLEST_BIN_SCALE), math.log(self.levels))
        slope = output.new_zeros(*mean.shape[:3], channels, *mean.shape[3:])
        later, earlier = torch.tril_indices(channels, channels, -1, device=output.device)
        slope[:, :, later, earlier] = torch.tanh(coefficients)
        return Mixture(weight[:, :, 0].log_softmax(1), mean, log_scale, slope)

    def sample_pixel(self, output: Tensor, u: Tensor, temperature: float) -> Tensor:
        """Sample one pixel of each image, ``(B, C)``, in levels.

        Args:
            output: the network's output ``(B, outputs)`` at the pixel.
            u: uniform numbers in [0, 1), ``(B, 1 + C)``.
            temperature: factor that divides the logits of the weights and multiplies the scales.
        """
        log_weight, mean, log_scale, slope = (p[..., 0, 0] for p in self.mixture(output[..., None, None]))
        if temperature == 0:
            k = log_weight.argmax(1)
        else:
            edges = (log_weight / temperature).softmax(1).cumsum(1)[:, :-1]
            k = (u[:, :1] >= edges).sum(1)
        rows = torch.arange(len(k), device=k.device)
        mean, log_scale, slope = mean[rows, k], log_scale[rows, k], slope[rows, k]
        noise = temperature * log_scale.exp() * torch.logit(u[:, 1:], torch.finfo(u.dtype).eps)
        x = torch.zeros_like(mean)
        for channel in range(x.shape[1]):
            before = (slope[:, channel] * to_symmetric(x, self.levels)).sum(1)
            location = from_symmetric(mean[:, channel] + before, self.levels)
            x[:, channel] = torch.round(location + noise[:, channel]).clamp(0, self.levels - 1)
        return x

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        scaled = to_symmetric(x, self.levels)
        mixture = self.mixture(self.network(scaled, context))
        location = from_symmetric(mixture.location(scaled), self.levels)
        log_mass = discretised_logistic_log_prob(x[:, None], location, mixture.log_scale, self.levels)
        wide = torch.promote_types(x.dtype, torch.float32)
        return sum_event((mixture.log_weight.to(wide) + log_mass.to(wide).sum(2)).logsumexp(1))

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        channels = self.spec.shape[0]
        # all numbers of an example are drawn at once, so that they do not depend on the order of the steps
        like = torch.empty(n, channels + 1, *self.spec.shape[1:], dtype=self.dtype, device=self.device)
        u = rng.uniform(like)

        def pixel(row: int, column: int, output: Tensor) -> Tensor:
            return to_symmetric(self.sample_pixel(output, u[:, :, row, column], temperature), self.levels)

        pixels = self.network.generate(n, pixel, context)
        return torch.round(from_symmetric(pixels, self.levels)).clamp(0, self.levels - 1)
