"""The encoder: a network from an example to features, for VAEs and the critics of GANs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from zoo.errors import ZooError
from zoo.models.core.nfe import add_nfe
from zoo.models.networks.batch_norm import BatchNorm2d
from zoo.models.networks.spectral_norm import SpectralNorm

Norm = Literal["none", "group", "batch", "spectral", "lipschitz"]
Activation = Literal["relu", "leaky_relu", "silu", "elu"]

SMALLEST = 4  # sides of at most this length are not halved
TRAIN_TOLERANCE = 0.02  # relative tolerance of a layer's squared norm in training: 1% of the norm
WIDEST = 4  # largest multiple of the width; channels double with each halving

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),  # slope of Radford et al. 2016
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def activation_layer(name: str) -> nn.Module:
    """Return the activation function called ``name``.

    Raises:
        ZooError: unknown name.
    """
    if name not in _ACTIVATIONS:
        raise ZooError(f"activation must be one of {', '.join(_ACTIVATIONS)}; got {name!r}.")
    return _ACTIVATIONS[name]()


def norm_layer(norm: str, channels: int) -> list[nn.Module]:
    """Return the layers that normalise a convolution's output: group norm, batch norm or none.

    Group norm (Wu & He 2018) has groups of at least four channels. ``spectral`` and ``lipschitz`` constrain
    the convolution itself (:func:`constrain`) and add no layer.

    Raises:
        ZooError: unknown name.
    """
    if norm == "group":
        return [nn.GroupNorm(math.gcd(8, max(channels // 4, 1)), channels)]
    if norm == "batch":
        return [BatchNorm2d(channels)]
    if norm in ("none", "spectral", "lipschitz"):
        return []
    raise ZooError(f"norm must be none, group, batch, spectral or lipschitz; got {norm!r}.")


def constrain(
    layer: nn.Module, norm: str, shape: Sequence[int] | None = None, bound: float = 1.0
) -> nn.Module:
    """Return the layer, with a constraint on its norm if ``norm`` is ``spectral`` or ``lipschitz``.

    Args:
        layer: ``nn.Linear`` or ``nn.Conv2d`` (``spectral``: transposed convolutions too).
        norm: ``spectral`` divides the weight, a kernel as the matrix (out, in x height x width), by its
            largest singular value (Miyato et al. 2018). ``lipschitz`` keeps the norm of the linear map
            itself at most ``bound``, in training too, see
            :class:`~zoo.models.networks.spectral_norm.SpectralNorm`. Other values leave the layer unchanged.
        shape: shape of the layer's input, for ``lipschitz``.
        bound: bound on the norm, for ``lipschitz``.

    Raises:
        ZooError: ``lipschitz`` without ``shape``.
    """
    if norm == "spectral":
        return spectral_norm(layer)
    if norm != "lipschitz":
        return layer
    if shape is None:
        raise ZooError("norm=lipschitz is for critics and encoders; choose group, batch, spectral or none.")
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return SpectralNorm(layer, tuple(shape), bound, train_tolerance=TRAIN_TOLERANCE)


def pyramid(height: int, width: int) -> list[tuple[int, int]]:
    """Return the sizes of an image pyramid, largest first: each side halves, rounding up, while it exceeds 4.

    >>> pyramid(28, 28), pyramid(5, 7), pyramid(2, 2)
    ([(28, 28), (14, 14), (7, 7), (4, 4)], [(5, 7), (3, 4)], [(2, 2)])
    """
    sizes = [(height, width)]
    while max(sizes[-1]) > SMALLEST:
        height, width = ((side + 1) // 2 if side > SMALLEST else side for side in sizes[-1])
        sizes.append((height, width))
    return sizes


def strides(large: tuple[int, int], small: tuple[int, int]) -> tuple[int, int]:
    """Return the stride of each side from one size of a pyramid to the next: 2 where it halves, else 1.

    >>> strides((5, 4), (3, 4))
    (2, 1)
    """
    return (1 if large[0] == small[0] else 2, 1 if large[1] == small[1] else 2)


def pyramid_channels(stages: int, width: int) -> list[int]:
    """Return the number of channels at each size of the pyramid, for the largest size first.

    >>> pyramid_channels(4, width=32)
    [32, 64, 128, 128]
    """
    return [width * min(2**i, WIDEST) for i in range(stages)]


class Encoder(nn.Module):
    """A network from ``(B, *shape)`` to ``(B, features)``.

    Images: 3x3 convolutions, one for each size of :func:`pyramid` (stride 2 along sides that halve), then one
    hidden layer. Vectors: ``depth`` hidden layers. One call counts as one network evaluation.

    Args:
        shape: ``(C, H, W)`` or ``(D,)``.
        features: length of the output.
        width: channels of the first convolution (images only).
        hidden: units of a hidden layer.
        depth: number of hidden layers (vectors only).
        norm: ``group`` or ``batch`` after each convolution (vectors: nothing), ``spectral`` or ``lipschitz``
            in every layer (:func:`constrain`), or ``none``. With ``lipschitz`` the network's Lipschitz
            constant is at most 1 if the activation's is.
        activation: ``relu``, ``leaky_relu``, ``silu`` or ``elu``.
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int,
        *,
        width: int = 32,
        hidden: int = 128,
        depth: int = 2,
        norm: Norm = "group",
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if len(shape) == 3:
            channels_in, height, breadth = shape
            sizes = pyramid(height, breadth)
            channels = pyramid_channels(len(sizes), width)
            size_in = sizes[0]
            for size, channels_out in zip(sizes, channels, strict=True):
                stride = strides(size_in, size)
                convolution = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)
                layers += [
                    constrain(convolution, norm, (channels_in, *size_in)),
                    *norm_layer(norm, channels_out),
                ]
                layers += [activation_layer(activation)]
                channels_in, size_in = channels_out, size
            layers += [nn.Flatten()]
            units, depth = channels_in * math.prod(size_in), 1
        else:
            norm_layer(norm, hidden)  # checks the name
            (units,) = shape
        for _ in range(depth):
            layers += [constrain(nn.Linear(units, hidden), norm, (units,)), activation_layer(activation)]
            units = hidden
        layers += [constrain(nn.Linear(units, features), norm, (units,))]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return features ``(B, features)``, unbounded."""
        add_nfe()
        return self.layers(x)
