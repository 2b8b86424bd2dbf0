"""A coupling layer of rational-quadratic splines."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.models.bijections.base import Bijection
from zoo.models.bijections.coupling import Coupling, Partition
from zoo.models.bijections.spline import check_spline, knots, rational_quadratic


class SplineCoupling(Coupling):
    """A coupling of monotone rational-quadratic splines on [-B, B] (Durkan et al. 2019).

    Outside [-B, B] the splines are the identity.

    Args:
        partition: partition of the event into a and b.
        network: network from a to the raw parameters of b's splines: for each index of dimension 1, one after
            the other, the 3 bins - 1 values of :func:`~zoo.models.bijections.spline.knots`.
        bins: number of bins of a spline.
        bound: bound B of the splines.
        kept: bijection of a, such as :class:`~zoo.models.bijections.spline.ElementwiseSpline`.

    Raises:
        ZooError: the number of bins is below two or too large, or the bound is not above zero.
    """

    def __init__(
        self,
        partition: Partition,
        network: nn.Module,
        bins: int = 8,
        bound: float = 3.0,
        kept: Bijection | None = None,
    ) -> None:
        super().__init__(partition, network, kept)
        check_spline(bins, bound)
        self.bins, self.bound = bins, float(bound)

    def apply_to(self, b: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic(b, *self.knots(parameters))

    def undo_on(self, b: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic(b, *self.knots(parameters), inverse=True)

    def knots(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw = parameters.unflatten(1, (self.partition.changed, 3 * self.bins - 1)).movedim(2, -1)
        return knots(raw, self.bins, self.bound)

    def extra_repr(self) -> str:
        return f"bins={self.bins}, bound={self.bound:g}"
