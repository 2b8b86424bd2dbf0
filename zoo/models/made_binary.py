"""MADE with Bernoulli conditionals over binary data, under one or many draws of its masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.checks import NotNegative, Positive, checked
from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.core.model import GenerativeModel
from zoo.models.families.binary import bernoulli_log_prob, threshold
from zoo.models.networks.drawn_masks_made import Activation, DrawnMasksMADE, Initialisation, Order


class BinaryMADE(GenerativeModel):
    """MADE over binary data (Germain et al. 2015, arXiv:1502.03509), an exact probability in nats.

    log p(x) = sum_d log Bernoulli(x_d; sigmoid(out_d(x_<d))) under one draw of the masks. With several draws
    the model is their mixture, p(x) = 1/M sum_m p_m(x): an update trains one of them, drawn at random, and
    the evaluation averages the *probabilities* (section 4.2). ``hidden=[]`` is a fully visible sigmoid belief
    network (FVSBN). Images are flattened.

    Args:
        spec: the data, of two levels.
        hidden: widths of the hidden layers; may be empty with ``direct``.
        activation, direct, order, initialisation: see
            :class:`~zoo.models.networks.drawn_masks_made.DrawnMasksMADE`.
        masks: number of draws of the masks; 0: a new draw in every update, without end.
        validation_masks: number of draws that validation averages, if ``masks`` is 0.
        test_masks: number of draws that the evaluation averages, if ``masks`` is 0.
        conditional: condition on the label.

    Raises:
        ZooError: the data are not binary, or there is neither a hidden layer nor a direct connection.
    """

    family = "autoregressive"
    sampling = "sequential"
    data_kind = "binary"

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: Sequence[Positive] = (500,),
        activation: Activation = "relu",
        direct: bool = True,
        order: Order = "natural",
        masks: NotNegative = 1,
        validation_masks: Positive = 10,
        test_masks: Positive = 300,
        initialisation: Initialisation = "orthogonal",
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, conditional)
        self.masks, self.validation_masks, self.test_masks = masks, validation_masks, test_masks
        self.network = DrawnMasksMADE(
            spec.dim,
            hidden,
            context=self.context,
            activation=activation,
            direct=direct,
            order=order,
            initialisation=initialisation,
        )

    @property
    def draws(self) -> int:
        """Number of draws of the masks whose mixture is evaluated."""
        return self.masks or self.test_masks

    def of_draw(self, x: Tensor, draw: int, context: Tensor | None = None) -> Tensor:
        """Return log p_m(x), ``(B,)``, in nats, of binary ``x`` ``(B, *shape)`` under a draw of the masks."""
        flat = x.flatten(1)
        return bernoulli_log_prob(flat, self.network(flat, self.network.masks(draw), context))

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if self.training:
            # torch's generator, which training seeds by the update: every row of the batch has the same masks
            draw = int(torch.randint(self.masks or 2**62, ())) if self.masks != 1 else 0
            return self.of_draw(x, draw, context)
        return self._mixture(x, self.draws, context)

    def _mixture(self, x: Tensor, draws: int, context: Tensor | None) -> Tensor:
        total = self.of_draw(x, 0, context)
        for draw in range(1, draws):
            total = torch.logaddexp(total, self.of_draw(x, draw, context))
        return total - math.log(draws)

    def validation_log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return log p(x), ``(B,)``, in nats; with ``validation_masks`` draws if ``masks`` is 0."""
        x, draws = x.to(device=self.device, dtype=self.dtype), self.masks or self.validation_masks
        if not self.conditional or y is not None:
            return self._mixture(x, draws, self.one_hot(y, len(x)))
        return self.label_mixture(lambda rows, context: self._mixture(rows, draws, context), x, unbiased=True)

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        like = next(self.parameters())
        chosen = (rng.uniform(like.new_empty(n, 1)).flatten() * self.draws).long().clamp(max=self.draws - 1)
        noise = rng.uniform(like.new_empty(n, self.spec.dim))
        x = like.new_empty(n, self.spec.dim)
        for draw in chosen.unique().tolist():
            rows = (chosen == draw).nonzero()[:, 0]
            part = noise[rows]

            def step(d: int, logits: Tensor, part: Tensor = part) -> Tensor:
                return threshold(logits, part[:, d], temperature)

            x[rows] = self.network.generate(
                step, len(rows), self.network.masks(draw), None if context is None else context[rows]
            )
        return x.view(n, *self.spec.shape)

    def likelihood_details(self) -> dict[str, Any]:
        return {"masks": self.draws} if self.draws > 1 else {}
