"""Coupling by rational-quadratic splines."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.models.bijections.base import Bijection
from zoo.models.bijections.coupling import Coupling, Partition
from zoo.models.bijections.spline import check_spline, knots, rational_quadratic


class SplineCoupling(Coupling):
    """f is a monotone rational-quadratic spline on [-B, B] and the identity outside (Durkan et al. 2019).

    Args:
        partition: of the event into a and b.
        network: a to the raw parameters of the splines of b: of each place of dimension 1 the 3 bins - 1
            values of :func:`~zoo.models.bijections.spline.knots`, one place after the other.
        bins: of each spline.
        bound: B.
        kept: a bijection of a, such as :class:`~zoo.models.bijections.spline.ElementwiseSpline`.

    Raises:
        ZooError: fewer than two bins, too many, or a bound that is not above zero.
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
