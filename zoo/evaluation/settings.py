"""The protocol's settings: the values of ``conf/evaluation/default.yaml``, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge

from zoo.checks import NotNegativeFloat, Positive, Seed, build_settings, settings
from zoo.errors import ZooError, unknown
from zoo.evaluation.features import EXTRACTORS

MACHINE = ("inception_weights", "dinov2_weights")  # paths on the machine, which are not part of the protocol


@settings
class Settings:
    """Settings of the protocol. A change of any setting but the paths changes the protocol's hash.

    Attributes:
        seed: seed of the subsets and the resampling; with the training seed that of the samples.
        samples: number of examples to generate; None: 1,000, or 10,000 for features of Inception and DINOv2
            (:attr:`~zoo.evaluation.features.Extractor.samples`), which 1,000 are too few for.
        reference: real images that the features of samples are compared with: ``test``, or ``train`` for the
            training and the validation split together, as papers compute FID. A test split of few images
            is replaced by these, under other names (:func:`~zoo.evaluation.protocol.stand_in`).
        pairwise_examples: largest number of examples of each set in metrics that compare all pairs: KID,
            precision, recall, density and coverage.
        training_examples: largest number of training examples among which the nearest one is searched
            (memorisation).
        likelihood_examples: number of test examples to score; None: all.
        dequantisation_samples: K noises per example for the bound log 1/K sum_k p(x + u_k) of dequantised
            flows.
        batch_size: batch size of sampling and scoring; it changes the memory, not the results.
        latency_repeats: number of timed calls of ``sample(1)``, of which the median is reported.
        throughput_batches: batch sizes to try; the fastest is reported.
        throughput_repeats: number of timed calls at each batch size.
        time_limit_seconds: time limit of each measurement of speed; at least one call is timed.
        extractor: name of the feature extractor: digits-cnn, mnist-cnn, cifar-cnn, random-conv,
            random-conv-16, random-conv-3, inception-v3-compat or dinov2; None: chosen according to the data.
        inception_weights: path of Inception's weights, ``weights-inception-2015-12-05-6726825d.pth``;
            None: in the torch hub's folder.
        dinov2_weights: path of DINOv2's weights, ``dinov2_vitl14_pretrain.pth``; None: in the torch hub's
            folder.
    """

    seed: Seed = 0
    samples: Positive | None = None
    reference: Literal["test", "train"] = "test"
    pairwise_examples: Annotated[int, Ge(2)] = 2000
    training_examples: Positive = 10_000
    likelihood_examples: Positive | None = None
    dequantisation_samples: Positive = 1
    batch_size: Positive = 256
    latency_repeats: Positive = 20
    throughput_batches: Sequence[Positive] = (1, 16, 256)
    throughput_repeats: Positive = 5
    time_limit_seconds: NotNegativeFloat = 5.0
    extractor: str | None = None
    inception_weights: str | None = None
    dinov2_weights: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Return settings with these values; the others keep their defaults.

        Raises:
            ZooError: a setting does not exist, or a value has a wrong type or is out of range.
        """
        options = dict(values)
        if isinstance(options.get("throughput_batches"), list):
            options["throughput_batches"] = tuple(options["throughput_batches"])
        limit = options.get("time_limit_seconds")
        if isinstance(limit, int) and not isinstance(limit, bool):
            options["time_limit_seconds"] = float(limit)  # 5 and 5.0 are the same protocol
        built = build_settings(cls, options, "evaluation")
        if not built.throughput_batches:
            raise ZooError("evaluation.throughput_batches must name at least one batch size; got [].")
        if built.extractor is not None and built.extractor not in EXTRACTORS:
            raise unknown("feature extractor", built.extractor, EXTRACTORS)
        return built

    @property
    def reference_splits(self) -> tuple[str, ...]:
        """Names of the splits that make up the reference."""
        return ("test",) if self.reference == "test" else ("train", "val")

    def identity(self) -> dict[str, Any]:
        """Return the settings that identify the protocol, all but the machine's paths, as built-in types."""
        fields: Any = dataclasses.fields(self)
        values = {field.name: getattr(self, field.name) for field in fields if field.name not in MACHINE}
        return values | {"throughput_batches": list(self.throughput_batches)}
