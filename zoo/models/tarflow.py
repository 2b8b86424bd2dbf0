"""TarFlow: autoregressive transformers over patches, in alternating orders."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from zoo.checks import above, at_least, switch, whole, within
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.base import Bijection, Chain, Inverse, Reshape, usable
from zoo.models.bijections.dequantise import DequantisationName, GaussianNoise
from zoo.models.bijections.elementwise import Affine
from zoo.models.bijections.patchify import Patchify
from zoo.models.bijections.transformer_autoregressive import TransformerAutoregressive
from zoo.models.core import rng
from zoo.models.core.distributions import Base
from zoo.models.families.flow import Flow, context_size, preprocess

Noise = Literal["uniform", "gaussian"]
Scaling = Literal["logit", "scale"]


class TarFlow(Flow):
    """TarFlow (Zhai et al. 2024, arXiv:2412.06329).

    An image becomes a sequence of patches, a vector the sequence of its dimensions, which ``blocks``
    transformer autoregressive blocks send to the latents, every other one from the last token to the first.
    A density costs ``blocks`` passes, a sample ``blocks`` times (tokens - 1)
    steps of one token each.

    The noise that is added to data decides what the likelihood means:

    * ``uniform``: the dequantisation of any flow here (``dequantisation`` may be ``variational``); continuous
      data gets no noise and has an exact density.
    * ``gaussian``: for better samples, as in the paper. The flow is then a density of *noisy* data, so what
      is reported is not that density but a lower bound of the likelihood of the data themselves, with the way
      back from noisy data of :class:`~zoo.models.bijections.dequantise.GaussianNoise`. Samples of the flow
      are noisy too; with ``denoise`` they make one step along the score, y + std^2 grad log p(y), the mean of
      the data given y (Tweedie), else that way back, which is the model that the bound belongs to.

    Args:
        spec: the data; at least 2 dimensions.
        blocks: number of blocks.
        patch: largest side of a patch, see :func:`~zoo.models.core.functional.patch_side` (images).
        width, layers, head_width: of each block's transformer.
        log_scale_bound: of each block's log-scales; None: free, as in the paper.
        preprocessing: of integers, ``logit``, or ``scale`` to [-1, 1], as in the paper; then density that
            the flow puts outside the range is lost.
        alpha: margin of the logit.
        noise: ``uniform`` or ``gaussian``.
        noise_std: of Gaussian noise; integers: on the scale [-1, 1]. Only with ``noise=gaussian``.
        denoise: the score step in sampling; only with ``noise=gaussian``.
        dequantisation: ``uniform`` or ``variational``; only with ``noise=uniform``.
        base: distribution of the latents.
        conditional: condition on the label.
        label_dropout: probability in training that an example's label is withheld, which guidance needs.
        guidance: weight w of guided sampling; 0 samples the model itself. The likelihood is unguided.

    Raises:
        ZooError: a single dimension; no block; a setting that another one excludes.
    """

    sampling = "sequential"

    def __init__(
        self,
        spec: DataSpec,
        blocks: int = 4,
        patch: int = 2,
        width: int = 48,
        layers: int = 2,
        head_width: int = 16,
        log_scale_bound: float | None = 5.0,
        preprocessing: Scaling = "logit",
        alpha: float = 1e-6,
        noise: Noise = "uniform",
        noise_std: float | None = None,
        denoise: bool = True,
        dequantisation: DequantisationName = "uniform",
        base: Base = "normal",
        conditional: bool = False,
        label_dropout: float = 0.1,
        guidance: float = 0.0,
    ) -> None:
        if spec.dim < 2:
            raise ZooError("TarFlow needs at least 2 dimensions; use model=maf for one.")
        whole(1, blocks=blocks, patch=patch, width=width, layers=layers, head_width=head_width)
        switch(denoise=denoise)
        above(0, log_scale_bound=log_scale_bound, noise_std=noise_std)
        within(0, 0.5, alpha=alpha)
        if noise not in get_args(Noise):
            raise ZooError(f"model.noise is uniform or gaussian; got '{noise}'.")
        if (noise == "gaussian") != (noise_std is not None):
            raise ZooError("model.noise_std is the size of model.noise=gaussian; give both or neither.")
        if noise == "gaussian" and dequantisation != "uniform":
            raise ZooError("model.noise=gaussian takes the place of model.dequantisation; leave it uniform.")
        if preprocessing not in get_args(Scaling):
            raise ZooError(f"model.preprocessing is logit or scale; got '{preprocessing}'.")
        if noise == "gaussian" and spec.levels is not None and preprocessing == "logit":
            raise ZooError("Gaussian noise leaves the range of a logit; set model.preprocessing=scale.")
        within(0, 1, label_dropout=label_dropout)
        at_least(0, guidance=guidance)
        if guidance != 0 and not (conditional and label_dropout > 0):
            raise ZooError(
                "model.guidance needs model.conditional=true and a model.label_dropout above 0 in training."
            )

        unit = 1.0 if spec.levels is None else spec.levels / 2  # of data, in that of the scaled data
        if preprocessing == "scale":
            first: Bijection = Chain([] if spec.levels is None else [Affine(1 / unit, -1.0)])
        else:
            first = preprocess(spec, "logit", alpha)
        split: Bijection = Reshape(spec.shape, (spec.dim, 1))
        tokens, features = spec.dim, 1
        if spec.is_image and (patches := Patchify(spec.shape, patch)).tokens > 1:
            split, tokens, features = patches, patches.tokens, patches.features
        context = context_size(spec, conditional)
        inner = [
            TransformerAutoregressive(
                tokens, features, index % 2 == 1, width, layers, head_width, context, log_scale_bound
            )
            for index in range(blocks)
        ]
        super().__init__(
            spec,
            Chain([first, split, *inner, Inverse(split)]),
            base,
            conditional=conditional,
            dequantisation=(
                dequantisation if noise_std is None else GaussianNoise(noise_std * unit, spec.levels)
            ),
        )
        self.denoise, self.label_dropout, self.guidance = denoise, label_dropout, guidance

    def likelihood_details(self) -> dict[str, Any]:
        details = super().likelihood_details()
        if isinstance(self.dequantise, GaussianNoise):
            details["noise_std"] = self.dequantise.std  # in units of the data
        return details

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.training and context is not None and self.label_dropout > 0:
            kept = rng.uniform(context[:, :1]) >= self.label_dropout
            context = context * kept
        return super()._log_prob(x, context)

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        y = self.base.sample(n, temperature, context)
        assert isinstance(self.transform, Chain)
        for layer in reversed(self.transform.layers):
            if isinstance(layer, TransformerAutoregressive):
                y, _ = layer.generate(y, context, self.guidance)
            else:
                y, _ = layer.inverse(y, context)  # type: ignore[operator]
        if isinstance(self.dequantise, GaussianNoise) and self.denoise:
            clean = y + self.dequantise.std**2 * self.score(y, context)
            return self.dequantise.nearest(self._sound(clean, "samples"))
        return self._as_data(y)

    def sampling_details(self) -> dict[str, Any]:
        """What sets samples apart from draws of the density that is scored."""
        denoised = isinstance(self.dequantise, GaussianNoise) and self.denoise
        guided = {"guidance": self.guidance} if self.guidance else {}
        return ({"denoised": True} if denoised else {}) | guided

    def score(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """grad log p(y) of the flow's density, at noisy or dequantised data ``(B, *shape)``."""
        with torch.inference_mode(False), torch.enable_grad():
            y, context = y.clone().requires_grad_(), usable(context)
            z, log_det = self.transform(y, context)
            return torch.autograd.grad((self.base.log_prob(z, context) + log_det).sum(), y)[0]
