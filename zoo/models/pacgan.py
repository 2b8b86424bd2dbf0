"""PacGAN: a GAN whose discriminator judges several examples at once, with maxout layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checks import Positive, PositiveFloat, checked
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.core.nfe import add_nfe
from zoo.models.families.adversarial import AdversarialModel, Truncation
from zoo.models.networks.batch_norm import BatchNorm1d
from zoo.models.networks.critic import Critic


class _Largest(torch.autograd.Function):
    """Return the largest of a unit's pieces, ``(B, K, units)`` to ``(B, units)``.

    Pieces that tie share the gradient evenly, as in torch's ``amax``, whose backward pass takes several times
    as long on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, pieces: Tensor) -> Tensor:
        largest = pieces.amax(1)
        shares = torch.eq(pieces, largest.unsqueeze(1), out=torch.empty_like(pieces))
        ctx.save_for_backward(shares.div_(shares.sum(1, keepdim=True)))
        return largest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (shares,) = ctx.saved_tensors
        return shares * gradient.unsqueeze(1)


class Maxout(nn.Module):
    """A maxout layer h_j = max_k (W_k x + b_k)_j (Goodfellow et al. 2013, arXiv:1302.4389, eq. 1-2).

    The affine maps W_1, ..., W_K lie one after another in ``linear``.

    Args:
        inputs: width of the input.
        units: number of outputs.
        pieces: number of affine maps K.
    """

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, units)``."""
        largest: Tensor = _Largest.apply(self.linear(x).unflatten(1, (self.pieces, -1)))
        return largest


class PackedCritic(Critic):
    """A discriminator of packs: the logit of m examples that are all real, or all generated.

    Rows i m .. (i + 1) m - 1 of a batch are one pack, concatenated (Lin et al. 2018, arXiv:1712.04086,
    section 2). So ``(B, ...)`` gives ``(B / m,)`` logits. Labels are appended to their examples.

    Args:
        dim: number of dimensions D of an example.
        packing: number m of examples in a pack.
        hidden: widths of the maxout layers.
        pieces: pieces of a maxout unit.
        context: length of the one-hot label; 0 for none.
    """

    def __init__(self, dim: int, packing: int, hidden: Sequence[int], pieces: int, context: int) -> None:
        layers: list[nn.Module] = []
        width = packing * (dim + context)
        for units in hidden:
            layers.append(Maxout(width, units, pieces))
            width = units
        super().__init__(nn.Sequential(*layers), width)
        self.packing = packing

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the logits of packs, ``(B / m,)``.

        Raises:
            ZooError: the batch is not a multiple of the packing.
        """
        _check_packs(len(x), self.packing)
        add_nfe()
        rows = x.flatten(1) if context is None else torch.cat([x.flatten(1), context], 1)
        return self.head(self.features(rows.reshape(len(x) // self.packing, -1))).squeeze(1)


class DenseGenerator(nn.Module):
    """Hidden layers of an affine map without bias, batch norm and ReLU, then an affine map to an example.

    In training the first examples of all packs are one batch for batch norm, the second ones another, and so
    on, as in the authors' code. Evaluation uses the running statistics, so a sample does not depend on its
    batch.

    Args:
        inputs: length of the latent and the label.
        hidden: widths of the hidden layers.
        shape: shape of an example.
        packing: number of examples in a pack.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], shape: tuple[int, ...], packing: int = 1) -> None:
        super().__init__()
        self.packing = packing
        layers: list[nn.Module] = []
        for units in hidden:
            norm = BatchNorm1d(units, eps=1e-4, momentum=0.05)
            layers += [nn.Linear(inputs, units, bias=False), norm, nn.ReLU()]
            inputs = units
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, int(torch.Size(shape).numel())))
        self.shape = shape

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map ``(B, latent_dim)`` and ``(B, context)`` to ``(B, *shape)``, unbounded.

        Raises:
            ZooError: in training, the batch is not a multiple of the packing.
        """
        add_nfe()
        inputs = z if context is None else torch.cat([z, context], 1)
        if self.training and self.packing > 1:
            _check_packs(len(z), self.packing)
            places = [self.layers(inputs[place :: self.packing]) for place in range(self.packing)]
            return torch.stack(places, 1).view(len(z), *self.shape)
        return self.layers(inputs).view(len(z), *self.shape)


def _check_packs(batch: int, packing: int) -> None:
    """Check that ``batch`` examples make whole packs of ``packing`` examples each.

    Raises:
        ZooError: some examples would be left over.
    """
    if batch % packing:
        raise ZooError(
            f"training.batch_size must be a multiple of model.packing ({packing}); got a batch of {batch}."
        )


class PacGAN(AdversarialModel):
    """A GAN with packing (Lin et al. 2018, arXiv:1712.04086); ``packing=1`` is its plain GAN.

    A generator that drops modes gives packs of too little variety, which the discriminator of packs notices.
    The networks are those of the paper's mixtures of Gaussians: dense, with batch norm in the generator and
    maxout layers in the discriminator. Images are flattened. A loss per example (the R1 penalty, for one)
    is taken at each example of a pack.

    Args:
        spec: the data.
        latent_dim: length of z.
        hidden: widths of the generator's hidden layers.
        critic_hidden: widths of the discriminator's maxout layers.
        pieces: pieces of a maxout unit.
        packing: number of examples in a pack; ``training.batch_size`` counts examples.
        start: standard deviation of the weights at the start; biases start at zero.
        conditional, truncation: see :class:`~zoo.models.families.adversarial.AdversarialModel`.
    """

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        latent_dim: Positive = 2,
        hidden: Sequence[Positive] = (400, 400, 400, 400),
        critic_hidden: Sequence[Positive] = (200, 200, 200),
        pieces: Positive = 5,
        packing: Positive = 2,
        start: PositiveFloat = 0.02,
        conditional: bool = False,
        truncation: Truncation = 1.0,
    ) -> None:
        super().__init__(spec, latent_dim=latent_dim, conditional=conditional, truncation=truncation)
        self.generator = DenseGenerator(latent_dim + self.context, hidden, spec.shape, packing)
        self.critic = PackedCritic(spec.dim, packing, critic_hidden, pieces, self.context)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=start)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
