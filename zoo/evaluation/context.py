"""What metrics are computed from: a model's samples beside the real data, every costly part computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, ZooError
from zoo.evaluation import neighbours
from zoo.evaluation.features import Extractor, to_uint8
from zoo.evaluation.settings import Settings

SAMPLES = "samples"


@dataclass(frozen=True)
class Context:
    """Samples and splits, seen as data, as pixels, as features and by their distances.

    Attributes:
        samples: ``(n, *spec.shape)`` in data space, on the CPU; none where they could not be drawn.
        splits: ``train``, ``test`` and mostly ``val``, each ``(N, *spec.shape)`` in data space.
        spec: the data.
        settings: of the protocol.
        extractor: of features; None where ``no_extractor`` says why.
        natural: whether images are photographs.
        model: in evaluation mode.
        failure: why the samples could not be drawn.
        modes: centres ``(K, D)`` and standard deviation of the data's modes, where it has such.
    """

    samples: Tensor
    splits: Mapping[str, Tensor]
    spec: DataSpec
    settings: Settings = field(default_factory=Settings)
    extractor: Extractor | None = None
    no_extractor: str = "No feature extractor was chosen."
    natural: bool = False
    model: nn.Module | None = None
    failure: str | None = None
    modes: tuple[Tensor, float] | None = None
    _of_samples: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)
    _of_real: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def examples(self, name: str) -> Tensor:
        """``samples`` or a split, in data space; of the training split at most ``training_examples``.

        Raises:
            InvalidData: examples of another shape than the data's.
            ZooError: no such split, or an empty one.
        """
        x = self.samples if name == SAMPLES else self.splits.get(name, torch.empty(0, *self.spec.shape))
        if tuple(x.shape[1:]) != self.spec.shape:
            raise InvalidData(
                f"The {name} examples have shape {tuple(x.shape[1:])}, the data {self.spec.shape}; "
                "a model is judged on data of its own shape."
            )
        if len(x) == 0:
            raise ZooError(f"There are no {name} examples.")
        return subset(x, self.settings.training_examples, self.settings.seed) if name == "train" else x

    def pixels(self, name: str) -> Tensor:
        """A set of images as bytes 0..255, ``(N, C, H, W)``, all by the same rounding."""
        levels = self.spec.levels
        assert levels is not None
        return self.once(("pixels", name), lambda: to_uint8(self.examples(name), levels))

    def features(self, name: str) -> Tensor:
        """A set's features ``(N, dim)``, float64.

        Raises:
            ZooError: some are not finite.
        """
        return self.once(("features", name), lambda: self._features(name))

    def _features(self, name: str) -> Tensor:
        assert self.extractor is not None
        found = self.extractor(self.examples(name), self.settings.batch_size)
        if not bool(torch.isfinite(found).all()):
            raise ZooError(
                f"Some features of the {name} examples are not finite; "
                f"the weights of {self.extractor.name} seem damaged."
            )
        return found

    def few(self, name: str) -> Tensor:
        """The features of at most ``pairwise_examples`` of a set, for what compares all pairs."""
        return subset(self.features(name), self.settings.pairwise_examples, self.settings.seed)

    def distances(self, first: str, second: str) -> Tensor:
        """Between the features of :meth:`few` of two sets, ``(N, M)``."""
        return self.once(
            ("distances", first, second), lambda: neighbours.distances(self.few(first), self.few(second))
        )

    def radii(self, name: str, k: int) -> Tensor:
        """Distance of each of :meth:`few` to its ``k``-th nearest neighbour in the set, ``(N,)``."""
        return self.once(("radii", name, k), lambda: neighbours.radii(self.distances(name, name), k))

    def about_features(self) -> dict[str, Any]:
        """What controls every value that is computed from features."""
        assert self.extractor is not None
        about = {
            "extractor": self.extractor.name,
            "weights_sha256": self.extractor.sha256,
            "dim": self.extractor.dim,
            "reference_n": len(self.splits["test"]),
            **self.extractor.details,
        }
        outside = int((self.spec.quantise(self.samples) != self.samples).flatten(1).any(1).sum())
        return about | ({"samples_not_on_levels": outside} if outside else {})

    def flaw(self) -> str | None:
        """Why nothing can be measured of these samples; None where it can.

        Raises:
            InvalidData: real examples of another shape, or not finite: no fault of the model's.
        """
        if self.failure is not None:
            return self.failure
        train = ["train"] if len(self.splits.get("train", ())) else []
        return self.once(
            ("flaw", SAMPLES), lambda: next(filter(None, map(self._flaw, [SAMPLES, "test", *train])), None)
        )

    def _flaw(self, name: str) -> str | None:
        try:
            x = self.examples(name)
        except InvalidData:
            raise
        except ZooError as error:
            return str(error)
        bad = int((~torch.isfinite(x.flatten(1))).any(1).sum()) if x.is_floating_point() else 0
        if bad and name != SAMPLES:
            raise InvalidData(
                f"{bad} of {len(x)} {name} examples hold values that are not finite; remove them."
            )
        if bad:
            return f"{bad} of {len(x)} {name} hold values that are not finite."
        seen = (
            x if not self.spec.is_image or self.spec.levels is None else self.pixels(name)
        )  # as it is judged
        if len(seen) > 1 and bool((seen == seen[:1]).all()):
            return f"All {len(x)} {name if name == SAMPLES else f'{name} examples'} are identical."
        return None

    def real(self, split: str) -> Context:
        """The same with as many real examples of a split in the samples' place; what is known is kept.

        Raises:
            ZooError: no such split, or an empty one.
        """
        return self.once(("real", split, SAMPLES), lambda: self._real(split))

    def _real(self, split: str) -> Context:
        self.examples(split)  # or it says why not
        # of the whole split: training_examples is about neighbours, and a floor has as many examples as there
        # are samples
        drawn = subset(self.splits[split], len(self.samples), self.settings.seed)
        twin = dataclasses.replace(self, samples=drawn)
        object.__setattr__(twin, "_of_real", self._of_real)
        return twin

    def once(self, key: tuple[Hashable, ...], compute: Callable[[], Any]) -> Any:
        """The result of ``compute``, remembered under ``key``, which names every set that it depends on."""
        store = self._of_samples if SAMPLES in key else self._of_real
        if key not in store:
            store[key] = compute()
        return store[key]


def subset(x: Tensor, n: int | None, seed: int) -> Tensor:
    """``n`` rows without repetition, the same for every model; all of them where there are no more."""
    if n is None or n >= len(x):
        return x
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:n]]
