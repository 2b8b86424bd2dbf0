"""A metric of samples does not depend on their order, even where they come sorted by class."""

from __future__ import annotations

import pytest
from metric_cases import FAKE, REAL, TWO_SAMPLE, two_sample


@pytest.mark.parametrize("name", TWO_SAMPLE)
def test_sorted_samples_get_the_value_of_shuffled_ones(name):
    by_brightness = FAKE[FAKE.flatten(1).double().mean(1).argsort()]
    assert not by_brightness.equal(FAKE)
    shuffled, ordered = (
        two_sample(TWO_SAMPLE[name], [samples], [REAL]).compute().item() for samples in (FAKE, by_brightness)
    )
    assert ordered == pytest.approx(shuffled, rel=1e-9, abs=1e-12)
