"""Settings that several models share, each default and each explanation once."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Lt

from zoo.checks import settings

Preprocessing = Literal["logit", "centre", "none"]
DequantisationName = Literal["uniform", "variational"]


@settings
class Pixels:
    """How a flow sees integer pixels; without effect on continuous data.

    Attributes:
        preprocessing: ``logit`` (all mass lies on pixel values; Dinh et al. 2017, section 4.1), ``centre``
            (linear; Kingma and Dhariwal 2018) or ``none``.
        alpha: margin of the logit; colour photographs: 0.05.
        dequantisation: noise that is added to integers: ``uniform``, or ``variational``, which is learned and
            gives a tighter bound (Ho et al. 2019).
    """

    preprocessing: Preprocessing = "logit"
    alpha: Annotated[float, Ge(0), Lt(0.5)] = 1e-6
    dequantisation: DequantisationName = "uniform"
