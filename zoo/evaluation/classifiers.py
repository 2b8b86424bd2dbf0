"""The small classifiers in the package, whose last hidden layer is used as features.

``python -m zoo.evaluation.train_classifier NAME`` trains their weights. With SiLU no feature is constant, so
their covariance has full rank. There is no batch normalisation, so an image's features do not depend on other
images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import ZooError

WEIGHTS = Path(__file__).parent / "weights"


class Classifier(nn.Module):
    """A network with a body that computes features and a linear head that classifies them.

    Args:
        body: network from images with values in [-1, 1] to features ``(B, dim)``.
        dim: number of features.
        levels: number of levels of the images, which have values 0..levels-1.
        classes: number of labels.
    """

    def __init__(self, body: nn.Module, dim: int, levels: int, classes: int = 10) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(dim, classes)
        self.levels = levels

    def features(self, x: Tensor) -> Tensor:
        """Return features ``(B, dim)`` of images ``(B, C, H, W)`` with values 0..levels-1."""
        return self.body(x.to(self.head.weight.dtype) / ((self.levels - 1) / 2) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(B, classes)``."""
        return self.head(self.features(x))


@dataclass(frozen=True)
class Shipped:
    """A classifier in the package.

    Attributes:
        name: name of the extractor and of its file.
        spec: format of the images that it was trained on.
        dim: number of features.
        body: function that builds the network up to the features.
        command: the command that made the weights.
    """

    name: str
    spec: DataSpec
    dim: int
    body: Callable[[], nn.Sequential]
    command: str

    @property
    def path(self) -> Path:
        """Return the path of the weights."""
        return WEIGHTS / f"{self.name}.safetensors"

    def build(self) -> Classifier:
        """Return the classifier with fresh weights."""
        assert self.spec.levels is not None
        return Classifier(self.body(), self.dim, self.spec.levels)

    def load(self, path: Path | None = None) -> tuple[Classifier, dict[str, str]]:
        """Return the trained classifier, in evaluation mode, and the metadata of its file.

        Raises:
            ZooError: the file is missing, damaged or of another classifier.
        """
        from safetensors import SafetensorError, safe_open

        model = self.build()
        try:
            with safe_open(str(path or self.path), framework="pt") as file:
                metadata = dict(file.metadata() or {})
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            model.load_state_dict(state)
            if not all(bool(torch.isfinite(weight).all()) for weight in state.values()):
                raise ValueError("some weights are not finite")
        except (OSError, SafetensorError, RuntimeError, ValueError) as error:
            raise ZooError(
                f"The weights of {self.name} are missing or damaged; make them with: {self.command}"
            ) from error
        return model.eval().requires_grad_(False), metadata


def _layers(channels: list[tuple[int, int, int]], inside: int, dim: int) -> nn.Sequential:
    """Return 3x3 convolutions ``(in, out, stride)`` and a linear layer from ``inside`` to ``dim`` values."""
    parts: list[nn.Module] = []
    for cin, cout, stride in channels:
        parts += [nn.Conv2d(cin, cout, 3, stride=stride, padding=1), nn.SiLU()]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(inside, dim), nn.SiLU())


SHIPPED = {
    shipped.name: shipped
    for shipped in (
        Shipped(
            "digits-cnn",
            DataSpec((1, 8, 8), levels=17, classes=10),
            32,
            lambda: _layers([(1, 16, 1), (16, 32, 2), (32, 32, 1)], 32 * 4 * 4, 32),
            "python -m zoo.evaluation.train_digits_classifier",
        ),
        Shipped(
            "mnist-cnn",
            DataSpec((1, 28, 28), levels=256, classes=10),
            64,
            lambda: _layers([(1, 16, 2), (16, 32, 2), (32, 48, 2)], 48 * 4 * 4, 64),
            "python -m zoo.evaluation.train_classifier mnist data.root=...",
        ),
        Shipped(
            "cifar-cnn",
            DataSpec((3, 32, 32), levels=256, classes=10),
            64,
            lambda: _layers([(3, 24, 2), (24, 48, 2), (48, 64, 2)], 64 * 4 * 4, 64),
            "python -m zoo.evaluation.train_classifier cifar10 data.root=...",
        ),
    )
}
