"""Settings that several models share.

The explanation of a setting stands here alone. Its default stands here and in ``conf/model``, where Hydra
needs it; a test holds the two equal.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Lt

from zoo.checks import settings

Preprocessing = Literal["logit", "centre", "scale", "none"]
DequantisationName = Literal["uniform", "variational"]


@settings
class Pixels:
    """Preprocessing of integer pixels ``0 .. levels-1`` for a flow; without effect on continuous data.

    Attributes:
        preprocessing: ``logit`` (the density has all its mass on the pixels' range; Dinh et al. 2017, section
            4.1), ``centre`` (x/levels - 1/2; Kingma and Dhariwal 2018), ``scale`` (2 x/levels - 1; Zhai et
            al. 2024) or ``none``. The last three are linear: mass outside of the range is lost.
        alpha: margin of the logit, above 0 with ``logit``; 0.05 is usual for colour photographs.
        dequantisation: noise that is added to integers: ``uniform``, or ``variational``, which is learned and
            gives a tighter bound (Ho et al. 2019). Residual flows and flows by an ODE allow ``uniform``
            alone.
    """

    preprocessing: Preprocessing = "logit"
    alpha: Annotated[float, Ge(0), Lt(0.5)] = 1e-6
    dequantisation: DequantisationName = "uniform"
