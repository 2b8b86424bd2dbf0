"""Add to records of digits what their samples say about the robustness of distances.

python scripts/second_look.py runs/claims_digits runs/claims_factorial

No model is needed: the samples of a record are the images that its distances were computed from. The details
of the Fréchet distance get two entries, and nothing that is there is changed:

- ``by_test_half``: its values against halves of the test images. The halves are the same for all runs, so
  that the spread of a difference of two models over them says what other test images would have given (a
  jackknife that deletes half);
- ``by_other_extractor``: its value in the features of a random network.

The ledger counts both among the other tests of a verdict.

Records whose samples are fewer than those that were judged are left as they are.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from zoo.comparison.claims.measure import OTHER_EXTRACTORS, TEST_HALVES
from zoo.comparison.collect import Run, collect
from zoo.data.digits import Digits
from zoo.evaluation.features import Extractor, classifier, random_network
from zoo.evaluation.frechet import between
from zoo.record import RECORD, SAMPLES
from zoo.record.files import write_atomic

OWN, OTHER = "digits-cnn", "random-conv"
HALVES = 32


def looked_again(run: Run) -> bool:
    """Add both details to a run's record; return whether it has them (fewer samples than were judged: no)."""
    raw = json.loads((run.directory / RECORD).read_text("utf-8"))
    own = raw["metrics"].get(f"fd/{OWN}")
    arrays = run.arrays(SAMPLES)
    if run.record.data != "digits" or own is None or own["value"] is None or arrays is None:
        return False
    if {TEST_HALVES, OTHER_EXTRACTORS} <= own["details"].keys():
        return True  # already done
    samples = torch.from_numpy(arrays["samples"]).float()
    if len(samples) != own["n"]:
        return False
    test = test_images()
    samples = samples.reshape(len(samples), *test.shape[1:])
    features, reference = extractors()[0](samples), test_features()[0]
    own["details"][TEST_HALVES] = [round(between(features, reference[half]), 6) for half in halves()]
    other = extractors()[1]
    own["details"][OTHER_EXTRACTORS] = {other.name: round(between(other(samples), test_features()[1]), 6)}
    write_atomic(run.directory / RECORD, json.dumps(raw, indent=1, allow_nan=False) + "\n")
    return True


@cache
def test_images() -> Tensor:
    """Return the test images of the digits, ``(360, 1, 8, 8)``, as levels."""
    data = Digits()
    data.setup()
    return data.splits["test"].float()


@cache
def extractors() -> tuple[Extractor, Extractor]:
    """Return the extractor that the records were judged with, and another one."""
    data = Digits()
    data.setup()
    return classifier(OWN, data.spec), random_network(OTHER, data.spec)


@cache
def test_features() -> tuple[Tensor, ...]:
    """Return the features of the test images by both extractors."""
    return tuple(extractor(test_images()) for extractor in extractors())


@cache
def halves() -> list[Tensor]:
    """Return the indices of random halves of the test images, the same in every call."""
    n, generator = len(test_images()), torch.Generator().manual_seed(0)
    return [torch.randperm(n, generator=generator)[: n // 2] for _ in range(HALVES)]


def main(places: list[str]) -> str:
    """Look again at every run below these directories, and return a sentence on how many allowed it."""
    runs, _ = collect([Path(place) for place in places])
    done = sum(map(looked_again, runs))
    return f"{done} of {len(runs)} records have the distances to halves of the test images and by {OTHER}."


if __name__ == "__main__":
    print(main(sys.argv[1:]))
