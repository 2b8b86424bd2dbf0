"""Masked autoregressive layer of rational-quadratic splines."""

from __future__ import annotations

from torch import Tensor

from zoo.errors import ZooError
from zoo.models.bijections.autoregressive import MaskedAutoregressive
from zoo.models.bijections.spline import check_spline, knots, rational_quadratic
from zoo.models.networks.made import MADE


class MaskedSplineAutoregressive(MaskedAutoregressive):
    """An autoregressive layer of monotone rational-quadratic splines on [-B, B] (Durkan et al. 2019).

    Outside [-B, B] the splines are the identity.

    Args:
        network: network that computes the raw parameters of a spline for each dimension, P = 3 bins - 1
            (:func:`~zoo.models.bijections.spline.knots`).
        bins: number of bins of a spline.
        bound: bound B of the splines.

    Raises:
        ZooError: the number of bins, the bound or the network's P is invalid.
    """

    def __init__(self, network: MADE, bins: int = 8, bound: float = 3.0) -> None:
        super().__init__(network)
        check_spline(bins, bound)
        if network.parameters_per_dim != 3 * bins - 1:
            raise ZooError(
                f"A spline of {bins} bins has {3 * bins - 1} parameters; "
                f"the network gives {network.parameters_per_dim}."
            )
        self.bins, self.bound = bins, float(bound)

    def apply_to(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic(x, *knots(parameters, self.bins, self.bound))

    def undo_on(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic(z, *knots(parameters, self.bins, self.bound), inverse=True)

    def extra_repr(self) -> str:
        return f"bins={self.bins}, bound={self.bound:g}"
