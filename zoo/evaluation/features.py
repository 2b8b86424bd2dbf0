"""Feature extractors: networks whose features are compared between sets of images."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, ZooError, unknown
from zoo.evaluation import dinov2 as vit
from zoo.evaluation.classifiers import SHIPPED, Classifier
from zoo.evaluation.random_features import BIAS, GRID, LARGEST, SEED, WIDTHS, RandomNetwork

INCEPTION = "inception-v3-compat"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
DINOV2 = "dinov2"
DINOV2_FILE = "dinov2_vitl14_pretrain.pth"


@dataclass(frozen=True)
class Published:
    """A feature network whose weights were published by others and lie in a local file.

    Attributes:
        title: usual name of the network.
        metric: name of its Fréchet distance.
        file: name of the published file.
        sha256: first digits of the file's checksum.
        publisher: publisher of the file.
        setting: name of the protocol's setting for the file's path.
    """

    title: str
    metric: str
    file: str
    sha256: str
    publisher: str
    setting: str

    def path(self, given: str | None = None) -> Path:
        """Return the path of the weights: ``path`` if given, else the file in the torch hub's folder."""
        return Path(given).expanduser() if given else Path(torch.hub.get_dir()) / "checkpoints" / self.file

    @contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Within the block, turn any error of reading the weights into a :class:`ZooError`."""
        try:
            yield
        except Exception as error:
            raise ZooError(
                f"The {self.title} weights {path} cannot be read; replace them with {self.file} as "
                f"{self.publisher} publishes it."
            ) from error


PUBLISHED = {
    INCEPTION: Published(
        "Inception", "FID", INCEPTION_FILE, "6726825d", "torch-fidelity", "inception_weights"
    ),
    DINOV2: Published(
        "DINOv2", f"fd/{DINOV2}", DINOV2_FILE, "d5383ea8", "facebookresearch/dinov2", "dinov2_weights"
    ),
}
RANDOM = {"random-conv": 64, "random-conv-16": 16, "random-conv-3": 3}  # number of features by name
EXTRACTORS = (*SHIPPED, *RANDOM, *PUBLISHED)
PUBLISHED_DIM = 2048  # features of Inception
LARGE = 256  # features, beyond which 1,000 samples are too few


@dataclass(frozen=True)
class Extractor:
    """A fixed function from images to features. It can be pickled; a copy is the same object.

    Attributes:
        name: name in the record.
        key: name of its Fréchet distance in the record.
        dim: number of features.
        sha256: checksum of the weights' file.
        function: maps images in data space ``(B, C, H, W)`` to features ``(B, dim)``.
        details: everything else that the features depend on, for the record.
    """

    name: str
    key: str
    dim: int
    sha256: str
    function: Callable[[Tensor], Tensor]
    details: dict[str, Any]

    @torch.no_grad()
    def __call__(self, x: Tensor, batch_size: int = 256) -> Tensor:
        """Return features ``(N, dim)`` of images ``(N, C, H, W)``, float64, on the CPU."""
        parts = [self.function(batch).to(device="cpu", dtype=torch.float64) for batch in x.split(batch_size)]
        return torch.cat(parts) if parts else torch.zeros(0, self.dim, dtype=torch.float64)

    @property
    def samples(self) -> int:
        """Number of samples that a comparison in these features needs by default: 1,000, or 10,000."""
        return 10_000 if self.dim > LARGE else 1000

    def __deepcopy__(self, memo: dict[int, Any]) -> Extractor:
        return self  # clones of a metric share the network, which may take a gigabyte


@dataclass(frozen=True)
class ClassifierFeatures:
    """Features of a packaged classifier, of images of ``spec``, on the CPU."""

    network: Classifier
    spec: DataSpec

    def __call__(self, x: Tensor) -> Tensor:
        levels = self.spec.levels
        assert levels is not None
        if levels == self.network.levels:
            return self.network.features(self.spec.quantise(x.cpu().float()))
        return self.network.features(to_uint8(x.cpu(), levels))


@dataclass(frozen=True)
class RandomFeatures:
    """Features of a random network, of images of ``levels`` levels."""

    network: RandomNetwork
    levels: int
    device: torch.device | str

    def __call__(self, x: Tensor) -> Tensor:
        return self.network(to_uint8(x, self.levels).to(self.device))


@dataclass(frozen=True)
class InceptionFeatures:
    """Features of torch-fidelity's Inception, of images of ``levels`` levels; grey ones become RGB."""

    network: Callable[[Tensor], tuple[Tensor, ...]]
    levels: int
    device: torch.device | str

    def __call__(self, x: Tensor) -> Tensor:
        pixels = to_uint8(x, self.levels).to(self.device)
        return self.network(pixels.expand(-1, 3, -1, -1))[0]


@dataclass(frozen=True)
class DINOv2Features:
    """Class token of DINOv2's network, of images of ``levels`` levels."""

    network: vit.VisionTransformer
    levels: int
    device: torch.device | str

    def __call__(self, x: Tensor) -> Tensor:
        few = to_uint8(x, self.levels).split(32)  # 256 images at once would take gigabytes
        return torch.cat([self.network(vit.shown(pixels).to(self.device)) for pixels in few])


def select(
    spec: DataSpec,
    *,
    natural: bool,
    name: str | None = None,
    reference_n: int | None = None,
    inception_weights: str | None = None,
    dinov2_weights: str | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Extractor | None, str]:
    """Return the extractor for images of this kind, or None with the reason.

    Args:
        spec: the data.
        natural: whether the images are photographs, for which Inception was trained.
        name: one of :data:`EXTRACTORS`; None: the first that applies of the packaged classifier of digits or
            MNIST (images of the same shape), Inception (photographs, if its weights are present and there are
            more real examples than features), the packaged classifier of CIFAR-10 (images of the same shape)
            and the random network, with as many features as the real examples are enough for
            (:func:`enough`), as a packaged classifier must have too.
        reference_n: number of real examples that samples are compared with; None: many.
        inception_weights: path of Inception's weights; by default the torch hub's folder is searched.
        dinov2_weights: path of DINOv2's weights; by default the torch hub's folder is searched.
        device: device that computes the features.

    Raises:
        ZooError: the name is unknown, or the weights are missing or damaged.
    """
    if name is not None and name not in EXTRACTORS:
        raise unknown("feature extractor", name, EXTRACTORS)
    if not spec.is_image:
        return None, "Features are for images; vectors are compared by their energy distance."
    if name in SHIPPED:
        wanted = SHIPPED[name].spec
        if _fits(name, spec):
            return classifier(name, spec), ""
        return None, f"{name} reads images of shape {wanted.shape} with {wanted.levels} levels only."
    if name is None:
        for small in ("digits-cnn", "mnist-cnn"):
            if _fits(small, spec) and enough(reference_n, SHIPPED[small].dim):
                return classifier(small, spec), ""
    if spec.levels is None:
        return None, "Features are for images of integer levels only."
    if name in RANDOM:
        return random_network(name, spec, device), ""
    colours = spec.shape[0] in (1, 3)
    if name is not None and not colours:
        return None, "Features of photographs are for grey or RGB images only."
    many = reference_n is None or reference_n > PUBLISHED_DIM
    if name is None and not (natural and colours and many):
        return without_weights(spec, reference_n, device), ""
    chosen = name or INCEPTION
    weights_file = {INCEPTION: inception_weights, DINOV2: dinov2_weights}[chosen]
    published = PUBLISHED[chosen]
    weights = published.path(weights_file)
    if weights.is_file():
        return {INCEPTION: inception, DINOV2: dinov2}[chosen](weights, spec.levels, device), ""
    if weights_file:
        raise ZooError(
            f"There are no {published.title} weights at {weights} (evaluation.{published.setting})."
        )
    if name is None:
        return without_weights(spec, reference_n, device), ""
    return None, (
        f"{published.metric} needs {published.title}'s weights: put {published.file} into "
        f"$TORCH_HOME/hub/checkpoints, or give its path as evaluation.{published.setting}."
    )


def without_weights(spec: DataSpec, reference_n: int | None, device: torch.device | str) -> Extractor:
    """Return the extractor for images that no published network is used for."""
    if _fits("cifar-cnn", spec) and enough(reference_n, SHIPPED["cifar-cnn"].dim):
        return classifier("cifar-cnn", spec)
    fitting = [name for name, dim in RANDOM.items() if enough(reference_n, dim)]
    return random_network(fitting[0] if fitting else list(RANDOM)[-1], spec, device)


def enough(n: int | None, dim: int) -> bool:
    """Return whether half of ``n`` real examples are more than ``dim`` features, or n is None (many).

    Then both the Fréchet distance and its extrapolation, which halves the sets, have a value.

    >>> enough(33, 16), enough(34, 16)
    (False, True)
    """
    return n is None or n // 2 > dim


def random_network(name: str, spec: DataSpec, device: torch.device | str = "cpu") -> Extractor:
    """Return the extractor of the random network, of images of any size and channels with integer levels."""
    assert spec.levels is not None
    dim, channels = RANDOM[name], spec.shape[0]
    network = RandomNetwork(channels, dim).to(device).eval()
    about = f"{name}, {channels} channels, {WIDTHS}, {GRID}, {LARGEST}, {BIAS}, seed {SEED}"
    checksum = hashlib.sha256(about.encode()).hexdigest()  # the weights follow from these
    details = {"network": f"random convolutions of {channels} channels, widths {WIDTHS}"}
    return Extractor(name, f"fd/{name}", dim, checksum, RandomFeatures(network, spec.levels, device), details)


def _fits(name: str, spec: DataSpec) -> bool:
    """Return whether a packaged classifier accepts images of this spec. All levels can be scaled to bytes."""
    wanted = SHIPPED[name].spec
    return spec.shape == wanted.shape and (
        spec.levels == wanted.levels or (wanted.levels == 256 and spec.levels is not None)
    )


def classifier(name: str, spec: DataSpec) -> Extractor:
    """Return the extractor of a packaged classifier, on the CPU. It rounds images to the nearest level.

    Raises:
        ZooError: the classifier's weights are missing or damaged.
    """
    model, metadata, checksum = _loaded(name)
    details = {"classifier_val_accuracy": float(metadata["val_accuracy"])}
    function = ClassifierFeatures(model, spec)
    return Extractor(name, f"fd/{name}", SHIPPED[name].dim, checksum, function, details)


@functools.cache
def _loaded(name: str) -> tuple[Classifier, dict[str, str], str]:
    model, metadata = SHIPPED[name].load()
    return model, metadata, sha256(SHIPPED[name].path)


@functools.lru_cache(maxsize=1)
def inception(
    weights: Path, levels: int, device: torch.device | str = "cpu", layer: str = "2048"
) -> Extractor:
    """Return the extractor of Inception's 2048 pool features (Heusel et al. 2017), by torch-fidelity.

    ``layer`` may be an earlier one, 64, 192 or 768, for sets of fewer than 2049 images. The network resizes
    to 299x299, bilinearly and without antialiasing, as the original's graph did. Only the published weights,
    recognised by their checksum, give FID; any others give ``fd/inception-v3-compat``.

    Raises:
        ZooError: the file holds no such weights.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with PUBLISHED[INCEPTION].reading(weights):
        # only tensors are read, as a check before torch-fidelity loads the file
        torch.load(weights, map_location="cpu", weights_only=True)
        network = FeatureExtractorInceptionV3(INCEPTION, [layer], feature_extractor_weights_path=str(weights))
    network = network.to(device)
    checksum = sha256(weights)
    published = checksum.startswith(PUBLISHED[INCEPTION].sha256)
    details = {"layer": layer, "resize": "299, bilinear, no antialiasing (TensorFlow 1)"}
    name = INCEPTION if layer == "2048" else f"{INCEPTION}-{layer}"
    key = "fid" if published and layer == "2048" else f"fd/{name}"
    function = InceptionFeatures(network, levels, device)
    return Extractor(name, key, int(layer), checksum, function, details)


@functools.lru_cache(maxsize=1)
def dinov2(weights: Path, levels: int, device: torch.device | str = "cpu") -> Extractor:
    """Return the extractor of the class token of DINOv2's Vision Transformer.

    Stein et al. (2023) recommend it, with the ViT-L/14 of Oquab et al. (2023) and its 1024 features; the
    smaller networks are accepted too. The record states the network, and whether the file is the published
    ViT-L/14.

    Raises:
        ZooError: the file holds no such weights.
    """
    with PUBLISHED[DINOV2].reading(weights):
        network = vit.load(weights).to(device)
    checksum = sha256(weights)
    details = {
        "network": f"ViT of width {network.width}, depth {network.depth}, patch {network.patch}",
        "published_weights": checksum.startswith(PUBLISHED[DINOV2].sha256),
        "resize": f"{vit.SIDE}, bicubic, antialiased, not rounded",
    }
    function = DINOv2Features(network, levels, device)
    return Extractor(DINOV2, f"fd/{DINOV2}", network.width, checksum, function, details)


def named(name: str, levels: int | None = None) -> tuple[Extractor, int]:
    """Return the extractor of this name, on the CPU, and the number of levels of the images it accepts.

    Args:
        name: one of :data:`EXTRACTORS`.
        levels: number of levels of the images; by default 17 for ``digits-cnn``, 256 for the others.

    Raises:
        ZooError: no extractor has this name, its weights are not in the torch hub's folder, or it does not
            accept images of that many levels.
    """
    if name in SHIPPED:
        spec = SHIPPED[name].spec
        spec = spec if levels is None else replace(spec, levels=levels)
    else:
        spec = DataSpec((3, 32, 32), levels=levels or 256)  # of any size
    extractor, reason = select(spec, natural=True, name=name)
    if extractor is None:
        raise ZooError(reason)
    assert spec.levels is not None
    return extractor, spec.levels


def as_levels(images: Tensor, levels: int, value_range: tuple[float, float] | None = None) -> Tensor:
    """Return images ``(B, C, H, W)`` rounded to the nearest of the levels ``0..levels-1``.

    Args:
        images: images that hold levels, or floats in ``value_range``.
        levels: number of levels.
        value_range: ``(low, high)``, the values of level 0 and level ``levels - 1``; values outside are
            clipped. None: the images hold levels.

    Raises:
        InvalidData: other shapes, integers with a range, or, without a range, values that are not levels.
    """
    if images.ndim != 4:
        raise InvalidData(f"Images have shape (B, C, H, W); got {tuple(images.shape)}.")
    if value_range is None:
        try:
            DataSpec(tuple(images.shape[1:]), levels).check(images)
        except InvalidData as error:
            raise InvalidData(f"{error} Floats in another range need value_range=(low, high).") from None
        return images
    low, high = value_range
    if not (images.is_floating_point() and low < high):
        raise InvalidData(
            "value_range=(low, high) with low < high is for images of floats; "
            f"got {value_range} and {images.dtype}."
        )
    scaled = (images.to(torch.float64) - low) * ((levels - 1) / (high - low))
    return torch.floor(scaled + 0.5).clamp(0, levels - 1)


def to_uint8(x: Tensor, levels: int = 256) -> Tensor:
    """Return levels ``0..levels-1`` as bytes 0..255: scaled by 255/(levels-1), rounded half up, clipped.

    Generated and real images are both converted by this function.
    """
    scaled = x.to(torch.float64) * (255 / (levels - 1))
    return torch.floor(scaled + 0.5).clamp(0, 255).to(torch.uint8)


def sha256(path: Path) -> str:
    """Return the checksum of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
