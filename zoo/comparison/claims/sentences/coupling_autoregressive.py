"""Likelihood and latency of an autoregressive flow, beside an affine coupling flow's."""

from __future__ import annotations

from zoo.comparison.claims.measure import (
    LATENCY,
    autoregressive_flow,
    baseline,
    compare,
    compare_likelihood,
    parallel_flow,
)
from zoo.comparison.claims.verdict import Evidence, claim
from zoo.comparison.studies import Study


@claim(
    "An autoregressive flow has the better density, an affine coupling flow the faster samples.", order=120
)
def coupling_autoregressive(study: Study) -> Evidence:
    affine = autoregressive_flow(study), parallel_flow(study)
    splines = baseline(study, "nsf_autoregressive"), baseline(study, "nsf_coupling")
    for (autoregressive, coupling), decides in ((affine, True), (splines, False)):
        yield compare_likelihood(autoregressive, coupling, "lower", decides)
        yield compare(autoregressive, coupling, LATENCY, "higher", decides)
