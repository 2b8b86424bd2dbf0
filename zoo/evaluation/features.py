"""Feature extractors: the spaces in which sets of images are compared."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import ZooError

DIGITS_SPEC = DataSpec(shape=(1, 8, 8), levels=17)
DIGITS_WEIGHTS = Path(__file__).parent / "weights" / "digits-cnn.safetensors"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"


@dataclass(frozen=True)
class Extractor:
    """A fixed function from images to features.

    Attributes:
        name: what the record calls it.
        key: the metric's name.
        dim: number of features.
        sha256: checksum of the weights' file.
        function: data space ``(B, C, H, W)`` to ``(B, dim)``.
        details: what else controls the value.
    """

    name: str
    key: str
    dim: int
    sha256: str
    function: Callable[[Tensor], Tensor]
    details: dict[str, Any]

    @torch.no_grad()
    def __call__(self, x: Tensor, batch_size: int = 256) -> Tensor:
        """Features ``(N, dim)`` of images ``(N, C, H, W)``, float64, on the CPU."""
        parts = [self.function(batch).to(device="cpu", dtype=torch.float64) for batch in x.split(batch_size)]
        return torch.cat(parts) if parts else torch.zeros(0, self.dim, dtype=torch.float64)


class DigitsCNN(nn.Module):
    """A classifier of 8x8 digits with grey values 0..16 whose last hidden layer gives 32 features.

    SiLU keeps every feature alive, so that their covariance has full rank. Weights and accuracy:
    ``python -m zoo.evaluation.train_digits_classifier``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 32),
            nn.SiLU(),
        )
        self.head = nn.Linear(32, 10)

    def features(self, x: Tensor) -> Tensor:
        """Features ``(B, 32)`` of digits ``(B, 1, 8, 8)`` with values 0..16."""
        return self.body(x.to(self.head.weight.dtype) / 8 - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, 10)``."""
        return self.head(self.features(x))


def select(
    spec: DataSpec,
    natural: bool,
    *,
    inception_weights: str | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Extractor | None, str]:
    """The extractor in which images of this kind are compared, or None with the reason.

    Args:
        spec: the data.
        natural: whether the images are photographs, which Inception was trained to tell apart.
        inception_weights: path of Inception's weights; by default the torch hub's folder is searched.
        device: where to compute.
    """
    if not spec.is_image:
        return None, "Features are for images; vectors are compared by their energy distance."
    if spec.shape == DIGITS_SPEC.shape and spec.levels == DIGITS_SPEC.levels:
        return digits_cnn(), ""
    if not natural:
        return None, "No feature extractor fits these images: Inception was trained on photographs."
    if spec.levels is None or spec.shape[0] not in (1, 3):
        return None, "Inception reads grey or RGB images of integer levels only."
    hub = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    weights = Path(inception_weights).expanduser() if inception_weights else hub
    if not weights.is_file():
        if inception_weights:
            raise ZooError(f"There are no Inception weights at {weights} (evaluation.inception_weights).")
        return None, (
            f"FID needs Inception's weights: put {INCEPTION_FILE} into $TORCH_HOME/hub/checkpoints, "
            "or give its path as evaluation.inception_weights."
        )
    return inception(weights, spec.levels, device), ""


@functools.cache
def digits_cnn() -> Extractor:
    """The small classifier's features. Images are first brought to the nearest level.

    Raises:
        ZooError: the weights that ship with the package are missing.
    """
    model, metadata = load_digits_cnn()
    return Extractor(
        name="digits-cnn",
        key="fd/digits-cnn",
        dim=32,
        sha256=sha256(DIGITS_WEIGHTS),
        function=lambda x: model.features(DIGITS_SPEC.quantise(x.cpu().float())),
        details={"classifier_val_accuracy": float(metadata["val_accuracy"])},
    )


def load_digits_cnn() -> tuple[DigitsCNN, dict[str, str]]:
    """The shipped classifier, in evaluation mode, and its file's metadata."""
    from safetensors import SafetensorError, safe_open

    model = DigitsCNN()
    try:
        with safe_open(str(DIGITS_WEIGHTS), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ZooError(
            f"The digit classifier's weights cannot be read ({error}); "
            "make them with: python -m zoo.evaluation.train_digits_classifier"
        ) from None
    return model.eval().requires_grad_(False), metadata


@functools.lru_cache(maxsize=1)
def inception(weights: Path, levels: int, device: torch.device | str = "cpu") -> Extractor:
    """The 2048 pool features of the Inception network of Heusel et al. (2017), as torch-fidelity holds it.

    It resizes to 299x299 itself, bilinearly and without antialiasing, as the original's graph did.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
    ).to(device)

    def function(x: Tensor) -> Tensor:
        pixels = to_uint8(x, levels).to(device)
        return network(pixels.expand(-1, 3, -1, -1))[0]

    details = {"layer": "2048", "resize": "299, bilinear, no antialiasing (TensorFlow 1)"}
    return Extractor("inception-v3-compat", "fid", 2048, sha256(weights), function, details)


def to_uint8(x: Tensor, levels: int = 256) -> Tensor:
    """Levels ``0..levels-1`` to bytes 0..255: scaled by 255/(levels-1), rounded half up, cut to the range.

    The one way from images to bytes, for every family and for real images alike.
    """
    scaled = x.to(torch.float64) * (255 / (levels - 1))
    return torch.floor(scaled + 0.5).clamp(0, 255).to(torch.uint8)


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
