"""Tests of the inverse of flows of default size with trained weights.

Other tests perturb weights at random, and only slightly, since a deep flow of random weights is badly
conditioned: its layers amplify rounding (for a default MAF on 8x8 pixels with weights perturbed by 0.05, to
an error of 1e-3 in float64), which would hide errors of the code. Trained flows are well conditioned, so the
bounds hold.
"""

from __future__ import annotations

import copy
import functools

import pytest
import torch

import zoo
from zoo.data import Digits
from zoo.data.module import DataModule
from zoo.models.core import rng
from zoo.models.families.flow import Flow

FLOWS = ["realnvp", "glow", "nsf_coupling", "maf", "maf_mog", "iaf", "nsf_autoregressive", "tarflow"]


@functools.cache
def digits() -> DataModule:
    data = Digits()
    data.setup()
    return data


def trained(name: str, updates: int = 30, batch: int = 32) -> Flow:
    """Return a flow after some updates of Adam by maximum likelihood, whose loss must have fallen."""
    data = digits()
    model, images = zoo.build(name, data.spec), data.splits["train"]
    assert isinstance(model, Flow)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(updates):
        loss = -model.log_prob(images[torch.randint(len(images), (batch,))]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 4, "the loss fell, in nats per image"
    model.on_training_statistics([(images, None)])
    return model.eval()


@pytest.mark.parametrize("name", FLOWS)
def test_a_trained_flow_inverts(name: str) -> None:
    """On test images, errors are at most 1e-10 (float64) and 1e-4 (float32), and log-dets sum to zero."""
    model, images = trained(name), digits().splits["test"][:32]
    for dtype, error, log_det_error in ((torch.float64, 1e-10, 1e-10), (torch.float32, 1e-4, 1e-3)):
        flow = copy.deepcopy(model).to(dtype)
        assert flow.dequantise is not None
        with torch.no_grad(), rng.keyed(rng.content_keys(images)):
            x = flow.dequantise(images.to(dtype))
            z, log_det = flow.transform(x)
            back, back_log_det = flow.transform.inverse(z)
        assert log_det.abs().max() > 1, "the flow is not the identity"
        torch.testing.assert_close(back, x, rtol=0, atol=error)
        torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=log_det_error)
