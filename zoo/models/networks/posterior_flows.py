"""Flows of a VAE's posterior whose parameters are computed from the data: planar and Sylvester flows.

They map the Gaussian to the posterior's sample; the inverse is not needed and has no closed form.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PosteriorFlow = Literal["planar", "sylvester"]


class Planar(nn.Module):
    """A planar flow z + u tanh(w^T z + b) (Rezende & Mohamed 2015, arXiv:1505.05770, eq. 10-12).

    log|det| = ln(1 + u^T w (1 - tanh^2)). It is invertible if w^T u > -1: u is replaced by u + (m(w^T u) -
    w^T u) w / |w|^2 with m(x) = softplus(x) - 1 (appendix A.1). With a small w this is a large u, so the flow
    does not start near the identity.

    Args:
        dim: number of dimensions D.

    Attributes:
        parameters_needed: numbers that parametrise the flow of one row, 2 D + 1.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.parameters_needed = dim, 2 * dim + 1

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image of ``z`` ``(B, D)`` and log|det|, ``(B,)``, given parameters for each row."""
        u, w, b = parameters.split([self.dim, self.dim, 1], 1)
        product = (u * w).sum(1, keepdim=True)
        u = u + (F.softplus(product) - 1 - product) * w / w.square().sum(1, keepdim=True).clamp(min=1e-12)
        bent = torch.tanh((w * z).sum(1, keepdim=True) + b)
        slope = (u * w).sum(1) * (1 - bent.square())[:, 0]
        return z + u * bent, slope.log1p()


class Sylvester(nn.Module):
    """An orthogonal Sylvester flow z + Q R tanh(S Q^T z + b) (van den Berg et al. 2018, arXiv:1803.05649).

    Q ``(D, M)`` has orthonormal columns (here by a QR decomposition, there by iteration), R and S are upper
    triangular, and log|det| = sum_i ln(1 + r_ii s_ii (1 - tanh_i^2)) (eq. 13-15). The diagonals are bounded
    by tanh, so that r_ii s_ii > -1 and the flow is invertible.

    Args:
        dim: number of dimensions D.
        columns: number of columns M of Q, at most D.

    Attributes:
        parameters_needed: numbers that parametrise the flow of one row, D M + M (M + 1) + M.
    """

    upper: Tensor

    def __init__(self, dim: int, columns: int) -> None:
        super().__init__()
        self.dim, self.columns = dim, min(columns, dim)
        m = self.columns
        self.register_buffer("upper", torch.triu_indices(m, m, 1), persistent=False)
        self.sizes = [dim * m, m * (m - 1) // 2, m * (m - 1) // 2, m, m, m]
        self.parameters_needed = sum(self.sizes)

    def forward(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image of ``z`` ``(B, D)`` and log|det|, ``(B,)``, given parameters for each row."""
        directions, above, below, r, s, b = parameters.split(self.sizes, 1)
        q, _ = torch.linalg.qr(directions.view(-1, self.dim, self.columns))
        r, s = torch.tanh(r), torch.tanh(s)
        first, second = self._triangle(above, r), self._triangle(below, s)
        inner = torch.einsum("bij,bdj,bd->bi", second, q, z) + b
        bent = torch.tanh(inner)
        moved = z + torch.einsum("bdi,bij,bj->bd", q, first, bent)
        return moved, (r * s * (1 - bent.square())).log1p().sum(1)

    def _triangle(self, above: Tensor, diagonal: Tensor) -> Tensor:
        triangle = torch.diag_embed(diagonal)
        rows, columns = self.upper
        return triangle.index_put((torch.arange(len(above))[:, None], rows, columns), above)


class PosteriorFlows(nn.Module):
    """Several flows in a row, whose parameters are an affine map of features of x.

    Args:
        flow: ``planar`` or ``sylvester``.
        dim: number of dimensions D.
        features: length of the features.
        layers: number of flows.
        columns: number of columns of a Sylvester flow's Q.
    """

    def __init__(self, flow: PosteriorFlow, dim: int, features: int, *, layers: int, columns: int) -> None:
        super().__init__()
        self.flows = nn.ModuleList(
            Planar(dim) if flow == "planar" else Sylvester(dim, columns) for _ in range(layers)
        )
        needed = [f.parameters_needed for f in self.flows]
        self.sizes = [int(n) for n in needed]  # type: ignore[arg-type]  # a module's attribute has no type
        self.amortised = nn.Linear(features, sum(self.sizes))

    def forward(self, z: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image of ``z`` ``(B, D)`` and log|det|, ``(B,)``, given features ``(B, F)``."""
        total = z.new_zeros(len(z))
        parts = self.amortised(features).split(self.sizes, 1)
        for flow, part in zip(self.flows, parts, strict=True):
            z, log_det = flow(z, part)
            total = total + log_det
        return z, total
