"""Models with perturbed weights, for tests."""

from __future__ import annotations

import torch


def perturbed(model, scale=0.2):
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model.double().eval()
