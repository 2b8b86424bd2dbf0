"""A Gaussian with a full covariance, fitted in closed form."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from zoo.checks import NotNegativeFloat, checked
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.base import Chain
from zoo.models.core import rng
from zoo.models.core.distributions import LOG_2PI, Distribution
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.autoregressive import flattened
from zoo.models.families.flow import Flow


class FullNormal(Distribution):
    """Normals N(m_y, C_y) with full covariances, one for each label y, or one without labels.

    C_y = L_y L_y^T with a lower triangle L_y of positive diagonal, which stands as its entries below the
    diagonal and the logarithms of those on it; it starts as the identity. log p costs a triangular solve.

    Args:
        dim: number of dimensions D.
        context: number of labels K, given as one-hot context; 0 for none.
    """

    def __init__(self, dim: int, context: int = 0) -> None:
        super().__init__()
        self.dim = dim
        self.mean = nn.Parameter(torch.zeros(max(1, context), dim))
        # only what lies below the diagonal counts
        self.below = nn.Parameter(torch.zeros(max(1, context), dim, dim))
        self.log_diagonal = nn.Parameter(torch.zeros(max(1, context), dim))

    def triangles(self) -> Tensor:
        """Return L, ``(K, D, D)``."""
        return self.below.tril(-1) + torch.diag_embed(self.log_diagonal.exp())

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        values = []
        for mean, triangle, log_diagonal in zip(self.mean, self.triangles(), self.log_diagonal, strict=True):
            white = torch.linalg.solve_triangular(triangle, (z - mean).T, upper=False)
            values.append(-0.5 * (white.square().sum(0) + self.dim * LOG_2PI) - log_diagonal.sum())
        if context is None:
            return values[0]
        return (torch.stack(values, 1) * context).sum(1)

    def sample(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        noise = temperature * rng.normal(self.mean[0].expand(n, -1))
        drawn = self.mean[:, None] + noise @ self.triangles().mT  # (K, n, D)
        return drawn[0] if context is None else torch.einsum("knd,nk->nd", drawn, context)

    def set_moments(self, mean: Tensor, covariance: Tensor) -> None:
        """Set means ``(K, D)`` and covariances ``(K, D, D)``.

        Raises:
            torch.linalg.LinAlgError: a covariance is not positive definite.
        """
        triangle = torch.linalg.cholesky(covariance.double())
        self.mean.copy_(mean)
        self.below.copy_(triangle.tril(-1))
        self.log_diagonal.copy_(triangle.diagonal(dim1=1, dim2=2).log())


class Gaussian(Flow):
    """A Gaussian with a full covariance, the maximum of the likelihood in closed form.

    m = mean of x, C = mean of (x - m)(x - m)^T, in float64 ("Gaussian" of Papamakarios et al. 2017). With
    ``conditional`` there is one for each label. Images are dequantised, preprocessed and flattened.
    One update of ``training=expectation_maximisation``, its objective, reaches the maximum.

    Args:
        spec: the data.
        ridge: number that is added to the diagonal of the covariance, for data that lie in a subspace; the
            result is then not quite the maximum.
        pixels: preprocessing of integer pixels.
        conditional: one Gaussian for each label.
    """

    sampling = "parallel"
    objective = "expectation_maximisation"

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        ridge: NotNegativeFloat = 0.0,
        pixels: Pixels = Pixels(),
        conditional: bool = False,
    ) -> None:
        if pixels.dequantisation != "uniform":
            raise ZooError("model.pixels.dequantisation of a Gaussian must be uniform.")
        super().__init__(
            spec,
            Chain(flattened(spec, pixels)),
            base=FullNormal(spec.dim, context_size(spec, conditional)),
            conditional=conditional,
        )
        self.ridge = ridge

    @property
    def normal(self) -> FullNormal:
        """The Gaussian, or those of all labels."""
        return cast(FullNormal, self.base)

    @torch.no_grad()
    def statistics(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """Return counts, sums and sums of products for each label, and the sum of log p, in float64."""
        x = x.to(device=self.device, dtype=self.dtype)
        context = self.one_hot(y, len(x))
        with rng.keyed(rng.content_keys(x)):
            log_prob = self._log_prob(x, context)
            rng.seek(0)
            z = self.transform(x if self.dequantise is None else self.dequantise(x))[0].double()
        weight = z.new_ones(len(z), 1) if context is None else context.double()
        return {
            "log_prob": log_prob.double().sum(),
            "count": weight.sum(0),
            "sum": weight.T @ z,
            "product": torch.stack([(z * w[:, None]).T @ z for w in weight.T]),
        }

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> Tensor:
        """Set mean and covariance from the sums over the training set; return the mean of log p before.

        Raises:
            ZooError: a covariance is not positive definite: constant or dependent columns, or a label with
                too few examples.
        """
        count = statistics["count"][:, None]
        mean = statistics["sum"] / count
        covariance = statistics["product"] / count[:, None] - mean[:, :, None] * mean[:, None, :]
        covariance = covariance + self.ridge * torch.eye(self.spec.dim).to(covariance)
        before = statistics["log_prob"] / count.sum()
        try:
            self.normal.set_moments(mean, covariance)
        except torch.linalg.LinAlgError:
            raise ZooError(
                "The covariance of the training set is not positive definite: columns are constant or depend "
                "on each other, or there are fewer examples than columns; set model.ridge, such as 1e-6."
            ) from None
        return before
