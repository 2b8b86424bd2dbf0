"""Tests of encoders and decoders."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import ZooError
from zoo.models.core.nfe import count_nfe
from zoo.models.networks.decoder import Decoder
from zoo.models.networks.encoder import Encoder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("norm", ["none", "group", "batch", "spectral"])
@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 1, 1), (1, 5, 7), (2, 16, 3), (1, 9, 33), (5,)])
def test_encoder_and_decoder_accept_any_shape(shape: tuple[int, ...], norm: str) -> None:
    encoder = Encoder(shape, 6, width=8, hidden=16, norm=norm)
    decoder = Decoder(6, shape, 2, width=8, hidden=16, norm=norm)
    with count_nfe() as counter:
        features = encoder(torch.randn(3, *shape))
        output = decoder(features)
    assert counter.count == 2
    assert features.shape == (3, 6)
    assert output.shape == (3, 2 * shape[0], *shape[1:])
    output.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("shape", [(1, 8, 8), (5,)])
def test_an_unknown_norm_or_activation_is_an_error(shape: tuple[int, ...]) -> None:
    for network in (lambda **k: Encoder(shape, 2, **k), lambda **k: Decoder(2, shape, **k)):
        with pytest.raises(ZooError):
            network(norm="layer")
        with pytest.raises(ZooError):
            network(activation="tahn")
