"""The invertible 1x1 convolution: a learned mixing of channels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.checks import checked
from zoo.errors import ZooError
from zoo.models.bijections.base import Bijection, zeros
from zoo.models.bijections.linear import solve_lu, triangles
from zoo.models.core.memo import Memo


class Mixing(Bijection):
    """Base class of 1x1 convolutions z = W x at every pixel, with log|det| = H W log|det W|.

    On vectors it is a linear layer. Kingma & Dhariwal 2018, section 3.2. W starts as a random rotation; a
    subclass defines its parametrisation. W and its inverse are computed once in evaluation, see
    :class:`~zoo.models.core.memo.Memo`. Autocast is off inside: W and its inverse, rounded separately, would
    not be inverses of each other.
    """

    def __init__(self) -> None:
        super().__init__()
        self._weight: Memo[Tensor] = Memo()
        self._inverse_weight: Memo[Tensor] = Memo()

    def weight(self) -> Tensor:
        """Return W ``(C, C)``, in at least float32."""
        raise NotImplementedError

    def inverse_weight(self) -> Tensor:
        """Return the inverse of W."""
        raise NotImplementedError

    def log_scale(self) -> Tensor:
        """Return log|det W|."""
        raise NotImplementedError

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            weight = self._weight.of(self, tuple(self.parameters(False)), self.weight)
            return mix(weight, x), self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.invert(z), -self._log_det(z)

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            weight = self._inverse_weight.of(self, tuple(self.parameters(False)), self.inverse_weight)
            return mix(weight, z)

    def train(self, mode: bool = True) -> Mixing:
        self._weight.forget()
        self._inverse_weight.forget()
        return super().train(mode)

    def _log_det(self, x: Tensor) -> Tensor:
        return zeros(x) + self.log_scale() * x.shape[2:].numel()


class InvertibleConv1x1(Mixing):
    """A 1x1 convolution W = P L (U + diag(sign exp(log s))) (Kingma & Dhariwal 2018, eq. 10-11).

    log|det W| = sum log s. L is unit lower and U strictly upper triangular, P a fixed permutation and the
    signs fixed. Cost: O(C^2) per pixel; the inverse takes two triangular solves of C x C per call.

    Args:
        channels: number of channels C.
    """

    permutation: Tensor
    sign: Tensor
    below: Tensor
    above: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        p, lower, upper = torch.linalg.lu(rotation(channels))
        diagonal = upper.diagonal()
        dtype = torch.get_default_dtype()
        self.register_buffer("permutation", p.to(dtype))
        self.register_buffer("sign", diagonal.sign().to(dtype))
        self.log_s = nn.Parameter(diagonal.abs().log().to(dtype))
        below, above = (torch.tril_indices(channels, channels, -1), torch.triu_indices(channels, channels, 1))
        self.register_buffer("below", below, persistent=False)
        self.register_buffer("above", above, persistent=False)
        self.lower = nn.Parameter(lower[below[0], below[1]].to(dtype))
        self.upper = nn.Parameter(upper[above[0], above[1]].to(dtype))

    def weight(self) -> Tensor:
        lower, upper = self._triangles()
        return self.permutation.to(lower.dtype) @ lower @ upper

    def inverse_weight(self) -> Tensor:
        lower, upper = self._triangles()
        return solve_lu(lower, upper, self.permutation.T.to(lower.dtype))

    def log_scale(self) -> Tensor:
        return self.log_s.sum(dtype=torch.promote_types(self.log_s.dtype, torch.float32))

    def _triangles(self) -> tuple[Tensor, Tensor]:
        log_s = self.log_s.to(torch.promote_types(self.log_s.dtype, torch.float32))
        return triangles(self.lower, self.upper, self.sign * log_s.exp(), self.below, self.above)


class FullConv1x1(Mixing):
    """A 1x1 convolution with the full matrix W as its parameter (Kingma & Dhariwal 2018, eq. 9).

    Cost: O(C^3) per call for the determinant.

    Args:
        channels: number of channels C.

    Raises:
        ZooError: W has become singular.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(rotation(channels).to(torch.get_default_dtype()))

    def weight(self) -> Tensor:
        return self.matrix.to(torch.promote_types(self.matrix.dtype, torch.float32))

    def inverse_weight(self) -> Tensor:
        try:
            return torch.linalg.inv(self.weight())
        except torch.linalg.LinAlgError as error:
            raise ZooError(
                "A 1x1 convolution's matrix is singular and has no inverse; choose model.mixing=plu."
            ) from error

    def log_scale(self) -> Tensor:
        return torch.linalg.slogdet(self.weight())[1]


MixingKind = Literal["plu", "full"]


@checked("model")
def make_mixing(mixing: MixingKind, channels: int) -> Mixing:
    """Return the mixing layer by name: ``plu`` for a PLU decomposition, ``full`` for a full matrix."""
    return InvertibleConv1x1(channels) if mixing == "plu" else FullConv1x1(channels)


def rotation(size: int) -> Tensor:
    """Draw an orthogonal matrix uniformly, in float64."""
    q, r = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))
    return q * r.diagonal().sign()


def mix(weight: Tensor, x: Tensor) -> Tensor:
    """Return W x along dimension 1 of ``x`` ``(B, C)`` or ``(B, C, H, W)``."""
    weight = weight.to(x.dtype)
    if x.ndim == 2:
        return F.linear(x, weight)
    if x.device.type == "cpu":  # faster there than a convolution with a kernel of one pixel
        return torch.bmm(weight.expand(len(x), -1, -1), x.flatten(2)).view_as(x)
    return F.conv2d(x, weight[:, :, None, None])
