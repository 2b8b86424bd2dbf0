"""FFJORD: a continuous flow trained by its likelihood."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from zoo.checks import Positive, checked
from zoo.data.spec import DataSpec
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.continuous import ContinuousFlow, Penalty, Solver
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.continuous import ContinuousModel
from zoo.models.networks.vector_field import Activation, DenseField, LearnedTime, PatchField, PatchSettings


class FFJORD(ContinuousModel):
    """Free-form Jacobian of reversible dynamics (Grathwohl et al. 2019, arXiv:1810.01367).

    Trained by maximum likelihood through the ODE, with Hutchinson's trace; evaluated with the exact trace
    if the dimension allows. On vectors, a field of two hidden layers always uses its exact trace in closed
    form.

    Images keep one resolution, or have several ``scales``: flows, a squeeze and as many flows again, after
    which half of the channels leave; the last scale, or one of odd height or width, has flows only.

    Args:
        spec: the data.
        hidden: widths of the hidden layers of the field (vectors).
        channels: channels of the hidden layers of the field (images).
        patch: largest number of pixels by which the field folds an axis; 1 for plain convolutions (images).
        activation: activation of the field, ``tanh`` or ``softplus``.
        flows: continuous flows in a row; with ``scales``, in a row at each resolution.
        scales: largest number of scales, limited by how often the size can be halved (images).
        learn_time: learn the time T that each flow takes, which starts at 1.
        solver: solver of the ODE.
        penalty: penalties on the path in training.
        pixels: preprocessing of pixels.
        conditional: condition on the label.
        base: distribution of the latents, see :func:`~zoo.models.core.distributions.make_base`.
    """

    for_vectors = ("hidden",)
    for_images = ("channels", "patch", "scales")

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: Sequence[Positive] = (64, 64),
        channels: Sequence[Positive] = (64, 64),
        patch: Positive = 4,
        activation: Activation = "tanh",
        flows: Positive = 1,
        scales: Positive = 1,
        learn_time: bool = False,
        solver: Solver = Solver(train_tolerance=1e-3),
        penalty: Penalty = Penalty(),
        pixels: Pixels = Pixels(),
        conditional: bool = False,
        base: Base = "normal",
    ) -> None:
        context = context_size(spec, conditional)
        size = PatchSettings(hidden=channels, patch=patch, activation=activation)

        def ode(shape: tuple[int, ...]) -> ContinuousFlow:
            field: nn.Module = (
                PatchField(shape, size, context=context)
                if spec.is_image
                else DenseField(spec.dim, hidden, context=context, activation=activation)
            )
            return ContinuousFlow(LearnedTime(field) if learn_time else field, solver, penalty)

        def row(shape: tuple[int, ...]) -> list[Bijection]:
            return [ode(shape) for _ in range(flows)]

        def scale(shape: tuple[int, ...], left: int) -> MultiScale:
            c, h, w = shape
            if left == 1 or h % 2 or w % 2:
                return MultiScale(Chain(row(shape)), shape, None, None)
            inside = (4 * c, h // 2, w // 2)
            deeper = scale((2 * c, *inside[1:]), left - 1)
            return MultiScale(Chain([*row(shape), Squeeze(), *row(inside)]), inside, deeper, None)

        flow: Bijection
        if spec.is_image and scales > 1:
            flow = scale(spec.shape, scales)
        else:
            flow = Chain(row(spec.shape)) if flows > 1 else ode(spec.shape)
        super().__init__(spec, flow, pixels=pixels, conditional=conditional, base=base)
