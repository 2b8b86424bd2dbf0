"""PixelCNN: an autoregressive model of sub-pixels, with a MADE for vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F

from zoo.checks import Positive, checked
from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.core.distributions import LOG_2PI
from zoo.models.core.functional import from_symmetric, soft_clamp, sum_event, to_symmetric
from zoo.models.core.model import GenerativeModel
from zoo.models.networks.gated_pixelcnn import GatedPixelCNN
from zoo.models.networks.made import MADE

LOG_STD_BOUND = 5.0  # standard deviations of the mixture lie between e^-5 and e^5

Kernel = Annotated[int, Ge(3)]


class PixelCNN(GenerativeModel):
    """An autoregressive model, log p(x) = sum_i log p(x_i | x_1 .. x_{i-1}), over sub-pixels or dimensions.

    The network depends on the data; the likelihood's details record its name:

    * integer images, ``gated PixelCNN``: a softmax over the levels of each sub-pixel, in the order rows,
      columns, channels (van den Oord et al. 2016, arXiv:1606.05328). An exact probability of the integers.
    * integer vectors, ``MADE-softmax``: the same softmax from a MADE (Germain et al. 2015,
      arXiv:1502.03509), since there is no image to convolve.
    * continuous data, ``MADE-MoG``: an exact density, a mixture of Gaussians for each dimension,

          p(x_i | x_<i) = sum_k softmax(w_i)_k N(x_i; m_ik, exp(2 s_ik)),

      with (w, m, s) from a MADE (as in Papamakarios et al. 2017, section 4) and s soft-clamped to (-5, 5).
      Continuous images are flattened.

    The temperature of samples divides the logits of a softmax, and scales the standard deviations of a
    mixture.

    Args:
        spec: the data.
        width: features of each stack of the gated PixelCNN.
        layers: gated layers of the gated PixelCNN.
        kernel: size of its kernels, odd.
        first_kernel: size of its first layer's kernels, odd.
        head: features before its logits.
        hidden: widths of the MADE's hidden layers (vectors and continuous data only).
        components: Gaussians for each dimension (continuous data only).
        conditional: condition every layer on the label (eq. 4 of the paper).

    Raises:
        ZooError: a setting outside its range, or ``conditional`` for data without labels.
    """

    family = "autoregressive"
    sampling = "sequential"

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        width: Positive = 16,
        layers: Positive = 5,
        kernel: Kernel = 3,
        first_kernel: Kernel = 7,
        head: Positive = 32,
        hidden: Sequence[Positive] = (128, 128),
        components: Positive = 10,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, conditional)
        self.pixels: GatedPixelCNN | None = None
        self.made: MADE | None = None
        if spec.levels is None:
            self.network = "MADE-MoG"
            self.made = MADE(spec.dim, 3 * components, hidden, context=self.context)
            with torch.no_grad():  # equal components would stay equal
                bias = self.made.output.bias.view(spec.dim, 3, components)
                bias[:, 1] = torch.linspace(-2, 2, components) if components > 1 else 0.0
        elif spec.is_image:
            self.network = "gated PixelCNN"
            self.pixels = GatedPixelCNN(
                spec.shape[0],
                spec.levels,
                width=width,
                layers=layers,
                kernel=kernel,
                first_kernel=first_kernel,
                head=head,
                context=self.context,
            )
        else:
            self.network = "MADE-softmax"
            self.made = MADE(spec.dim, spec.levels, hidden, context=self.context)

    @classmethod
    def unread(cls, spec: DataSpec) -> tuple[str, ...]:
        gated = ("width", "layers", "kernel", "first_kernel", "head")
        if spec.levels is None:
            return gated
        return ("hidden", "components") if spec.is_image else (*gated, "components")

    def likelihood_details(self) -> dict[str, Any]:
        return {"network": self.network}

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.pixels is not None:
            return _softmax_log_prob(self.pixels(x, context).movedim(2, 1), x)
        assert self.made is not None
        if self.spec.levels is not None:
            logits = self.made(to_symmetric(x, self.spec.levels), context)
            return _softmax_log_prob(logits.movedim(2, 1), x)
        flat = x.flatten(1)
        log_weight, mean, log_std = _mixture(self.made(flat, context), dim=2)
        standard = (flat[..., None] - mean) * torch.exp(-log_std)
        return sum_event(torch.logsumexp(log_weight - log_std - 0.5 * (standard.square() + LOG_2PI), dim=2))

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        # all numbers of an example are drawn at once, so that they do not depend on the order of the steps
        u = rng.uniform(torch.empty(n, *self.spec.shape, dtype=self.dtype, device=self.device))
        if self.pixels is not None:

            def sub_pixel(channel: int, row: int, column: int, logits: Tensor) -> Tensor:
                return sample_categorical(logits, u[:, channel, row, column], temperature)

            return self.pixels.generate(n, u.shape[2], u.shape[3], sub_pixel, context)
        assert self.made is not None
        columns = u.flatten(1).T
        if self.spec.levels is not None:

            def level(i: int, logits: Tensor) -> Tensor:
                levels = sample_categorical(logits, columns[i], temperature).to(u.dtype)
                return to_symmetric(levels, self.spec.levels)

            x, _ = self.made.generate(n, level, context)
            return torch.round(from_symmetric(x, self.spec.levels)).view(u.shape)
        normals = rng.normal(u).flatten(1).T

        def value(i: int, parameters: Tensor) -> Tensor:
            log_weight, mean, log_std = _mixture(parameters, dim=1)
            k = sample_categorical(log_weight, columns[i], 1.0)[:, None]
            std = torch.exp(log_std.gather(1, k)[:, 0])
            return mean.gather(1, k)[:, 0] + temperature * std * normals[i]

        return self.made.generate(n, value, context)[0].view(u.shape)


def sample_categorical(logits: Tensor, u: Tensor, temperature: float) -> Tensor:
    """Sample indices ``(B,)`` by the inverse distribution function of softmax(logits / temperature).

    Args:
        logits: ``(B, K)``.
        u: uniform numbers in [0, 1), ``(B,)``.
        temperature: 0 returns the most likely index.

    >>> sample_categorical(torch.tensor([[0.0, 0.0]] * 3), torch.tensor([0.0, 0.49, 0.5]), 1.0).tolist()
    [0, 0, 1]
    """
    if temperature == 0:
        return logits.argmax(1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    cumulative = (logits / temperature).softmax(1).cumsum(1)
    below = cumulative <= u.to(cumulative.dtype)[:, None] * cumulative[:, -1:]
    return below.sum(1).clamp(max=logits.shape[1] - 1)  # rounding may reach the total


def _softmax_log_prob(logits: Tensor, x: Tensor) -> Tensor:
    """Return the log-probability ``(B,)`` of integers ``x`` ``(B, ...)``, in nats.

    Args:
        logits: ``(B, levels, ...)``.
        x: integers in a floating dtype.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return -sum_event(F.cross_entropy(wide, x.to(torch.int64), reduction="none"))


def _mixture(parameters: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return log weights, means and log standard deviations from a network's output, split along ``dim``."""
    logits, mean, raw = parameters.chunk(3, dim)
    return logits.log_softmax(dim), mean, soft_clamp(raw, LOG_STD_BOUND)
