"""The invertible residual block."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models import noise
from zoo.models.bijections.base import Bijection, zeros


class InvertibleResidual(Bijection):
    """z = x + g(x) with Lip(g) < 1; the inverse is the fixed point of x = z - g(x).

    Behrmann et al. 2019, eq. 3-4 and algorithm 1-2. log|det| = tr ln(I + J) = sum_k (-1)^{k+1} tr(J^k) / k,
    cut after ``terms`` and each trace estimated by Hutchinson with one Gaussian probe for each row; or, for
    events of at most ``exact_dim`` dimensions, exactly, through the whole Jacobian.

    Args:
        g: the residual branch, with attribute ``lipschitz``, a bound below 1 on its constant.
        exact_dim: largest dimension that is computed exactly.
        terms: of the series, in training.
        eval_terms: of the series, in evaluation.
        tolerance: largest change of the last iterate, relative to its size, at which the inverse stops.
        most: iterations after which the inverse gives up.

    Attributes:
        last_iterations: of the latest inverse.
        last_residual: its largest change in the last iteration.
    """

    def __init__(
        self,
        g: nn.Module,
        exact_dim: int = 4,
        terms: int = 5,
        eval_terms: int = 20,
        tolerance: float = 1e-6,
        most: int = 500,
    ) -> None:
        super().__init__()
        self.g, self.exact_dim, self.terms, self.eval_terms = g, exact_dim, terms, eval_terms
        self.tolerance, self.most = tolerance, most
        self.last_iterations, self.last_residual = 0, 0.0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            point = x if keep and x.requires_grad else x.detach().requires_grad_()
            out = self.g(point)
            exact = point[0].numel() <= self.exact_dim
            log_det = self._exact(point, out, keep) if exact else self._series(point, out, keep)
        z = point + out
        return (z, log_det) if keep else (z.detach(), log_det.detach())

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.invert(z)
        return x, -self.forward(x)[1]

    def invert(self, z: Tensor) -> Tensor:
        """The fixed point alone.

        Raises:
            ZooError: no convergence within ``most`` iterations.
        """
        floor = 10 * torch.finfo(z.dtype).eps
        x = z
        for iteration in range(1, self.most + 1):
            following = z - self.g(x)
            change = float((following - x).abs().max() / following.abs().max().clamp(min=1.0))
            x = following
            if change <= max(self.tolerance * (1 - getattr(self.g, "lipschitz", 0.0)), floor):
                self.last_iterations, self.last_residual = iteration, change
                return x
        raise ZooError(
            f"A residual block's inverse did not converge in {self.most} iterations (change {change:.1e}); "
            "its Lipschitz constant is too near 1, lower model.coefficient."
        )

    def bias_bound(self, dim: int) -> float:
        """Largest error in nats of the truncated series for one example: -D (ln(1-L) + sum_k L^k / k)."""
        if dim <= self.exact_dim:
            return 0.0
        constant = float(getattr(self.g, "lipschitz", math.nan))
        kept = sum(constant**k / k for k in range(1, self.eval_terms + 1))
        return -dim * (math.log1p(-constant) + kept)

    def _exact(self, x: Tensor, out: Tensor, keep: bool) -> Tensor:
        flat = out.flatten(1)
        rows = [
            torch.autograd.grad(flat[:, i].sum(), x, create_graph=keep, retain_graph=True)[0].flatten(1)
            for i in range(flat.shape[1])
        ]
        jacobian = torch.stack(rows, 1) + torch.eye(flat.shape[1], dtype=x.dtype, device=x.device)
        return torch.linalg.slogdet(jacobian)[1]

    def _series(self, x: Tensor, out: Tensor, keep: bool) -> Tensor:
        probe = noise.normal(x)
        product, log_det = probe, zeros(x)
        for k in range(1, (self.terms if self.training else self.eval_terms) + 1):
            (product,) = torch.autograd.grad(out, x, product, create_graph=keep, retain_graph=True)
            log_det = log_det + (-1) ** (k + 1) / k * (product * probe).flatten(1).sum(1)
        return log_det
