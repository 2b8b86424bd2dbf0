"""TarFlow: autoregressive transformers over patches, in alternating orders."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from zoo.checks import NotNegativeFloat, Positive, PositiveFloat, Share, checked
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.base import Bijection, Chain, Inverse, Reshape, usable
from zoo.models.bijections.dequantise import GaussianNoise
from zoo.models.bijections.patchify import Patchify
from zoo.models.bijections.transformer_autoregressive import TransformerAutoregressive
from zoo.models.core import rng
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.flow import Flow, preprocess

Noise = Literal["uniform", "gaussian"]


class TarFlow(Flow):
    """TarFlow (Zhai et al. 2024, arXiv:2412.06329).

    An image becomes a sequence of patches, a vector the sequence of its dimensions. ``blocks`` transformer
    autoregressive blocks map the sequence to the latents, every other block from the last token to the first.
    A density takes ``blocks`` passes, a sample ``blocks`` times (tokens - 1) steps of one token each.

    The noise that is added to data determines the meaning of the likelihood:

    * ``uniform``: the dequantisation of :class:`~zoo.models.core.settings.Pixels`, as in any flow; continuous
      data have no noise and an exact density.
    * ``gaussian``: for better samples, as in the paper. The flow is then a density of *noisy* data. The
      likelihood is a lower bound for the data themselves, with the conditional distribution of data given
      noisy data of :class:`~zoo.models.bijections.dequantise.GaussianNoise`. Samples of the flow are noisy
      too. With ``denoise`` they make one step along the score, y + std^2 grad log p(y), the mean of the data
      given y (Tweedie); without, they are drawn from that conditional, the model that the bound belongs to.

    Args:
        spec: the data; at least 2 dimensions.
        blocks: number of blocks.
        patch: largest side of a patch, see :func:`~zoo.models.core.functional.patch_side` (images).
        width, layers, head_width: size of each block's transformer.
        log_scale_bound: bound of each block's log-scales; None for none, as in the paper.
        pixels: preprocessing of integer pixels; the paper's is ``scale``.
        noise: ``uniform`` or ``gaussian``, which needs a linear preprocessing of pixels.
        noise_std: standard deviation of Gaussian noise; for integers on the scale [-1, 1].
        denoise: make the score step in sampling; only with ``noise=gaussian``.
        base: distribution of the latents, see :func:`~zoo.models.core.distributions.make_base`.
        conditional: condition on the label.
        label_dropout: probability in training that an example's label is withheld, which guidance needs.
        guidance: weight w of guided sampling; 0 samples the model itself. The likelihood is unguided.

    Raises:
        ZooError: the data have a single dimension, or settings exclude each other.
    """

    sampling = "sequential"
    for_images = ("patch",)

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        blocks: Positive = 4,
        patch: Positive = 2,
        width: Positive = 48,
        layers: Positive = 2,
        head_width: Positive = 16,
        log_scale_bound: PositiveFloat | None = 5.0,
        pixels: Pixels = Pixels(),
        noise: Noise = "uniform",
        noise_std: PositiveFloat | None = None,
        denoise: bool = True,
        base: Base = "normal",
        conditional: bool = False,
        label_dropout: Share = 0.1,
        guidance: NotNegativeFloat = 0.0,
    ) -> None:
        if spec.dim < 2:
            raise ZooError("TarFlow needs at least 2 dimensions; use model=maf for one.")
        if (noise == "gaussian") != (noise_std is not None):
            raise ZooError("model.noise_std is the size of model.noise=gaussian; give both or neither.")
        if noise == "gaussian" and pixels.dequantisation != "uniform":
            raise ZooError("model.noise=gaussian replaces model.pixels.dequantisation; leave that uniform.")
        if noise == "gaussian" and spec.levels is not None and pixels.preprocessing == "logit":
            raise ZooError(
                "Gaussian noise leaves the range of a logit; set model.pixels.preprocessing=scale."
            )
        if guidance != 0 and not (conditional and label_dropout > 0):
            raise ZooError(
                "model.guidance needs model.conditional=true and a model.label_dropout above 0 in training."
            )

        unit = 1.0 if spec.levels is None else spec.levels / 2  # 1 on the scale [-1, 1], in levels
        split: Bijection = Reshape(spec.shape, (spec.dim, 1))
        tokens, features = spec.dim, 1
        if spec.is_image and (patches := Patchify(spec.shape, patch)).tokens > 1:
            split, tokens, features = patches, patches.tokens, patches.features
        context = context_size(spec, conditional)
        inner = [
            TransformerAutoregressive(
                tokens,
                features,
                reverse=index % 2 == 1,
                width=width,
                layers=layers,
                head_width=head_width,
                context=context,
                log_scale_bound=log_scale_bound,
            )
            for index in range(blocks)
        ]
        super().__init__(
            spec,
            Chain([preprocess(spec, pixels), split, *inner, Inverse(split)]),
            base=base,
            conditional=conditional,
            dequantisation=(
                pixels.dequantisation if noise_std is None else GaussianNoise(noise_std * unit, spec.levels)
            ),
        )
        self.denoise, self.label_dropout, self.guidance = denoise, label_dropout, guidance

    def likelihood_details(self) -> dict[str, Any]:
        details = super().likelihood_details()
        if isinstance(self.dequantise, GaussianNoise):
            details["noise_std"] = self.dequantise.std  # in the data's units
        return details

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.training and context is not None and self.label_dropout > 0:
            with_label = rng.uniform(context[:, :1]) >= self.label_dropout
            context = context * with_label
        return super()._log_prob(x, context)

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        y = self.base.sample(n, temperature, context)
        assert isinstance(self.transform, Chain)
        for layer in reversed(self.transform.layers):
            if isinstance(layer, TransformerAutoregressive):
                y, _ = layer.generate(y, context, self.guidance)
            else:
                y, _ = layer.inverse(y, context)
        if isinstance(self.dequantise, GaussianNoise) and self.denoise:
            clean = y + self.dequantise.std**2 * self.score(y, context)
            return self.dequantise.nearest(self._sound(clean, "samples"))
        return self._as_data(y)

    def sampling_details(self) -> dict[str, Any]:
        """Return the settings by which samples differ from draws of the density of ``log_prob``."""
        denoised = isinstance(self.dequantise, GaussianNoise) and self.denoise
        guided = {"guidance": self.guidance} if self.guidance else {}
        return ({"denoised": True} if denoised else {}) | guided

    def score(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return grad log p(y) of the flow's density, at noisy or dequantised data ``(B, *shape)``."""
        with torch.inference_mode(False), torch.enable_grad():
            y, context = y.clone().requires_grad_(), usable(context)
            z, log_det = self.transform(y, context)
            return torch.autograd.grad((self.base.log_prob(z, context) + log_det).sum(), y)[0]
