"""A model's samples and the real data, from which metrics are computed; costly parts are computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, ZooError
from zoo.evaluation.features import Extractor, to_uint8
from zoo.evaluation.halves import ROUNDS
from zoo.evaluation.neighbours import Pairs
from zoo.evaluation.settings import Settings

SAMPLES, REFERENCE = "samples", "reference"


@dataclass(frozen=True)
class Context:
    """Samples and splits, as data, pixels and features.

    Attributes:
        samples: ``(n, *spec.shape)`` in data space, on the CPU; empty where they could not be drawn.
        splits: ``train``, ``test`` and usually ``val``, each ``(N, *spec.shape)`` in data space.
        spec: shape and levels of the data.
        settings: settings of the protocol.
        extractor: feature extractor; None for the reason in ``no_extractor``.
        natural: whether images are photographs.
        model: the model, in evaluation mode.
        failure: reason why the samples could not be drawn.
        modes: centres ``(K, D)`` and standard deviation of the data's modes, where it has modes.
        pairs: distances between features, shared by the metrics.
        sample_seed: seed of the samples, see :func:`zoo.evaluation.protocol.sample_seed`.
        rounds: number of half-samples behind a standard error.
        errors: whether standard errors are needed; they are not for floors.
        stand_in: whether the reference is training images because the test split has too few.
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
    pairs: Pairs = field(default_factory=Pairs, repr=False)
    sample_seed: int = 0
    rounds: int = ROUNDS
    errors: bool = True
    stand_in: bool = False
    _of_samples: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)
    _of_real: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def examples(self, name: str) -> Tensor:
        """Return ``samples``, a split or the ``reference``, in data space.

        The reference is the test split, or the training and validation split together, as the settings say.
        Of the training split alone these are at most ``training_examples``.

        Raises:
            InvalidData: examples of another shape than the data's.
            ZooError: the split is missing or empty.
        """
        none = torch.empty(0, *self.spec.shape)
        if name == REFERENCE:
            parts = [self.splits.get(split, none) for split in self.settings.reference_splits]
            x = parts[0] if len(parts) == 1 else self.once((REFERENCE,), lambda: torch.cat(parts))
        else:
            x = self.samples if name == SAMPLES else self.splits.get(name, none)
        if tuple(x.shape[1:]) != self.spec.shape:
            raise InvalidData(
                f"The {name} examples have shape {tuple(x.shape[1:])}, the data {self.spec.shape}; "
                "a model is judged on data of its own shape."
            )
        if len(x) == 0:
            raise ZooError(f"There are no {name} examples.")
        return subset(x, self.settings.training_examples, self.settings.seed) if name == "train" else x

    def pixels(self, name: str) -> Tensor:
        """Return a set of images as bytes 0..255, ``(N, C, H, W)``, see :func:`to_uint8`."""
        levels = self.spec.levels
        assert levels is not None
        return self.once(("pixels", name), lambda: to_uint8(self.examples(name), levels))

    def features(self, name: str) -> Tensor:
        """Return the features of a set, ``(N, dim)``, float64.

        Raises:
            ZooError: some features are not finite.
        """
        return self.once(("features", name), lambda: self._features(name))

    def _features(self, name: str) -> Tensor:
        assert self.extractor is not None
        features = self.extractor(self.examples(name), self.settings.batch_size)
        if not bool(torch.isfinite(features).all()):
            raise ZooError(
                f"Some features of the {name} examples are not finite; "
                f"the weights of {self.extractor.name} seem damaged."
            )
        return features

    def few(self, name: str) -> Tensor:
        """Return the features of at most ``pairwise_examples`` of a set, for metrics of all pairs."""
        limit, seed = self.settings.pairwise_examples, self.settings.seed
        return self.once(("few", name), lambda: subset(self.features(name), limit, seed))

    def about_features(self) -> dict[str, Any]:
        """Return the details that all feature metrics share: extractor, weights, number of test examples."""
        assert self.extractor is not None
        about = {
            "extractor": self.extractor.name,
            "weights_sha256": self.extractor.sha256,
            "dim": self.extractor.dim,
            "reference_n": len(self.examples(REFERENCE)),
            **self.extractor.details,
        }
        outside = int((self.spec.quantise(self.samples) != self.samples).flatten(1).any(1).sum())
        return about | ({"samples_not_on_levels": outside} if outside else {})

    def flaw(self) -> str | None:
        """Return the reason why these samples cannot be judged, or None if they can.

        Raises:
            InvalidData: real examples of another shape, or with values that are not finite.
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
        judged = self.pixels(name) if self.spec.is_image and self.spec.levels is not None else x
        if len(judged) > 1 and bool((judged == judged[:1]).all()):
            return f"All {len(x)} {name if name == SAMPLES else f'{name} examples'} are identical."
        return None

    def real(self, split: str, draw: int = 0) -> Context:
        """Return a context with as many real examples, drawn with replacement, in place of the samples.

        They are what a model would draw whose distribution is the split. Results that were computed before
        are kept. The draws are of :meth:`examples` of the split, at most ``training_examples`` of the
        training split.

        Args:
            split: the split.
            draw: number of the draw.

        Raises:
            ZooError: the split is missing or empty.
        """
        return self.once(("real", split, draw, SAMPLES), lambda: self._real(split, draw))

    def _real(self, split: str, draw: int) -> Context:
        known = self.examples(split)  # raises if the split is missing or empty
        generator = torch.Generator().manual_seed(self.settings.seed + draw)
        rows = torch.randint(len(known), (len(self.samples),), generator=generator)
        twin = dataclasses.replace(self, samples=known[rows], errors=False, pairs=self.pairs)
        object.__setattr__(twin, "_of_real", self._of_real)
        if self.extractor is not None and self.spec.is_image:
            twin._of_samples["features", SAMPLES] = self.features(split)[rows]
        return twin

    @property
    def half_samples(self) -> int:
        """Number of half-samples behind a standard error; 0 where no error is needed."""
        return self.rounds if self.errors else 0

    def split_again(self, draw: int) -> Context:
        """Return a context of two disjoint parts of all real examples, split anew at random.

        One part, of the reference's size, takes the reference's place, the rest, at most as many as there are
        samples, that of the samples. Only metrics of features can be computed from it.
        """
        names = [name for name in ("train", "val") if len(self.splits.get(name, ()))]
        pooled = torch.cat([self.features(name) for name in (*names, REFERENCE)])
        order = torch.randperm(
            len(pooled), generator=torch.Generator().manual_seed(self.settings.seed + draw)
        )
        m = len(self.features(REFERENCE))
        twin = dataclasses.replace(self, errors=False, pairs=Pairs())
        twin._of_samples["features", SAMPLES] = pooled[order[m : m + len(self.samples)]]
        twin._of_real["features", REFERENCE] = pooled[order[:m]]
        return twin

    def once(self, key: tuple[Hashable, ...], compute: Callable[[], Any]) -> Any:
        """Return ``compute()``, computed once per ``key``; the key names every set that it depends on."""
        store = self._of_samples if SAMPLES in key else self._of_real
        if key not in store:
            store[key] = compute()
        return store[key]


def subset(x: Tensor, n: int | None, seed: int) -> Tensor:
    """Return ``n`` rows, drawn without repetition, the same for every model; all if there are no more."""
    if n is None or n >= len(x):
        return x
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:n]]
