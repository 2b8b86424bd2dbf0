"""Tests of the exact divergence of vector fields."""

from __future__ import annotations

import pytest
import torch

from zoo.models.bijections.continuous import ContinuousFlow
from zoo.models.networks.vector_field import DenseField, LearnedTime


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
@pytest.mark.parametrize("context", [0, 3])
def test_divergence_in_closed_form_equals_that_of_autograd(context, activation):
    torch.manual_seed(0)
    field = LearnedTime(DenseField(5, (7, 6), context=context, activation=activation), 2.0).double()
    x, t = torch.randn(4, 5, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    given = (torch.randn(4, context, dtype=torch.float64),) if context else ()
    velocity, trace = field.divergence(t, x, *given)
    torch.testing.assert_close(velocity, field(t, x, *given), rtol=0, atol=1e-14)
    for i in range(4):
        one = [c[i : i + 1] for c in given]
        jacobian = torch.autograd.functional.jacobian(lambda v, one=one: field(t, v[None], *one)[0], x[i])
        assert abs(jacobian.trace() - trace[i]) < 1e-12
    assert ContinuousFlow(field).trace(10**6, training=True) == "exact"
