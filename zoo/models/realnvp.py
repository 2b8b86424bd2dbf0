"""Real NVP: affine couplings with fixed masks."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.coupling import AffineCoupling, make_mask
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.flow import Flow, Preprocessing, preprocess
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.mlp import MLP


class RealNVP(Flow):
    """Real NVP (Dinh, Sohl-Dickstein and Bengio 2017, arXiv:1605.08803).

    Vectors: ``layers`` couplings with alternating masks, an activation normalisation before each in place of
    the paper's batch normalisation. Images: at each scale three couplings with checkerboard masks, a squeeze,
    three with channel masks; then half of the channels leave. The last scale has four checkerboard couplings,
    or four over channels where a single pixel is left. Odd sizes are not halved further.

    Args:
        spec: the data; vectors have at least 2 dimensions.
        layers: couplings (vectors).
        hidden: hidden layers of a dense conditioner (vectors).
        scales: at least 1, at most what halving allows (images).
        width: channels of a convolutional conditioner (images).
        blocks: its residual blocks (images).
        bound: soft clamp of each coupling's log-scale; None: no clamp.
        preprocessing: ``logit`` or ``centre``, for pixels.
        alpha: margin of the logit.

    Raises:
        ZooError: a single dimension, which leaves nothing to condition on; no scale or no layer.
    """

    def __init__(
        self,
        spec: DataSpec,
        layers: int = 8,
        hidden: Sequence[int] = (128, 128),
        scales: int = 2,
        width: int = 32,
        blocks: int = 1,
        bound: float | None = 3.0,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
    ) -> None:
        if spec.dim < 2:
            raise ZooError("Coupling flows need at least 2 dimensions; use model=maf for one.")
        if scales < 1 or layers < 1:
            raise ZooError(f"RealNVP needs scales and layers of at least 1; got {scales} and {layers}.")
        if not spec.is_image:
            chain: list[Bijection] = []
            for index in range(layers):
                mask = make_mask("alternating", spec.shape, flip=index % 2 == 1)
                chain += [ActNorm(spec.dim), AffineCoupling(mask, MLP(spec.dim, 2 * spec.dim, hidden), bound)]
            super().__init__(spec, Chain([preprocess(spec, preprocessing, alpha), *chain]))
            return

        def couplings(kind: str, shape: tuple[int, ...], count: int, flip: bool = False) -> list[Bijection]:
            made: list[Bijection] = []
            for index in range(count):
                mask = make_mask(kind, shape, flip=flip ^ (index % 2 == 1))  # type: ignore[arg-type]
                network = ConvNet(shape[0], 2 * shape[0], width, blocks)
                made += [ActNorm(shape[0]), AffineCoupling(mask, network, bound)]
            return made

        def scale(shape: tuple[int, int, int], left: int) -> MultiScale:
            c, h, w = shape
            if left == 1 or h % 2 or w % 2:
                # a checkerboard of one pixel has one part only, which would leave nothing to condition on
                kind = "checkerboard" if h * w > 1 else "channel"
                return MultiScale(Chain(couplings(kind, shape, 4)), shape, None, None)
            squeezed = (4 * c, h // 2, w // 2)
            layers = [
                *couplings("checkerboard", shape, 3), Squeeze(), *couplings("channel", squeezed, 3)
            ]  # fmt: skip
            stay = 2 * c
            prior = ConvNet(stay, 2 * (4 * c - stay), width, 0)
            return MultiScale(Chain(layers), squeezed, scale((stay, h // 2, w // 2), left - 1), prior)

        c, h, w = spec.shape
        transform = Chain([preprocess(spec, preprocessing, alpha), scale((c, h, w), scales)])
        super().__init__(spec, transform, latent_shape=(spec.dim,))
