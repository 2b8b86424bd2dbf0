"""Tests of counter-based noise: its distribution, and its dependence on the key only."""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy import stats

from zoo.models.core import rng


def reference_splitmix(x: int) -> int:
    mask = 2**64 - 1
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


@pytest.mark.parametrize("value", [0, 1, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15, 123456789])
def test_mix_is_splitmix64(value):
    signed = value - 2**64 if value >= 2**63 else value
    assert int(rng.mix(torch.tensor(signed))) % 2**64 == reference_splitmix(value)
    assert rng.mix_integer(signed) % 2**64 == rng.mix_integer(value) % 2**64 == reference_splitmix(value)


def test_keys_are_splitmix_of_their_stream_and_row():
    golden, stream = 0x9E3779B97F4A7C15, 0
    for counter in (7, -1, 2**40):
        stream = reference_splitmix((stream + counter + golden) % 2**64)
    expected = [reference_splitmix((stream + golden * row) % 2**64) for row in (2, 3, 4)]
    for device in (None, "cpu"):  # computed by torch, and by NumPy
        keys = rng.keys(7, -1, 2**40, count=3, first=2, device=device)
        assert [key % 2**64 for key in keys.tolist()] == expected


def test_uniform_noise_is_a_hash_of_key_draw_and_position():
    """The same numbers as ever: a run that was stopped under an older version goes on with them."""
    keys = rng.keys(11, count=2)
    with rng.keyed(keys):
        draws = [rng.uniform(torch.empty(2, 3, dtype=torch.float64)) for _ in range(2)]
    for draw, values in enumerate(draws, 1):
        for key, row in zip(keys.tolist(), values.tolist(), strict=True):
            start = reference_splitmix((key + draw * 0xD1342543DE82EF95) % 2**64)
            words = [reference_splitmix((start + place * 0x9E3779B97F4A7C15) % 2**64) for place in (1, 2, 3)]
            assert row == [(word >> 11) * 2.0**-53 for word in words]


def draw(kind, rows=20000, columns=3, dtype=torch.float64, seed=0):
    with rng.keyed(rng.keys(seed, count=rows)):
        return getattr(rng, kind)(torch.zeros(rows, columns, dtype=dtype))


def test_noise_has_its_distribution():
    assert stats.kstest(draw("uniform").flatten().numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(draw("normal").flatten().numpy(), "norm").pvalue > 1e-3
    signs = draw("rademacher")
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean().item()) < 4 / math.sqrt(signs.numel())


def test_columns_rows_and_draws_are_uncorrelated():
    with rng.keyed(rng.keys(3, count=20000)):
        first, second = (rng.normal(torch.zeros(20000, 2, dtype=torch.float64)) for _ in range(2))
    together = torch.cat([first, second, first.roll(1, 0)], 1).numpy()
    off = np.corrcoef(together.T) - np.eye(6)
    assert abs(off).max() < 4 / math.sqrt(20000)


def test_rows_do_not_depend_on_the_batch():
    x = torch.randn(7, 3)
    with rng.keyed(rng.content_keys(x)):
        whole = rng.normal(x)
    with rng.keyed(rng.content_keys(x[2:4])):
        assert torch.equal(rng.normal(x[2:4]), whole[2:4])
    with rng.keyed(rng.content_keys(x, salt=1)):
        assert not torch.equal(rng.normal(x), whole)


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["uniform", "normal", "rademacher"])
def test_a_row_of_a_large_batch_has_its_own_noise(kind, threads):
    keys, like = rng.keys(4, count=700), torch.empty(1400, 3, 7, 5)
    with rng.keyed(keys):
        whole = getattr(rng, kind)(like)
    for row in (0, 1, 142, 311, 312, 699):
        with rng.keyed(keys[row : row + 1]):
            alone = getattr(rng, kind)(like[:2])
            assert alone.equal(whole[row::700])


@pytest.mark.parametrize("kind", ["uniform", "normal", "rademacher"])
def test_noise_is_the_same_within_vmap(kind):
    x = torch.randn(5, 1, 7)

    def draw_by_content(x):
        with rng.keyed_by_content(x):
            return getattr(rng, kind)(x)

    assert torch.func.vmap(draw_by_content)(x).equal(draw_by_content(x.flatten(1))[:, None])


def test_repeated_rows_get_different_noise():
    keys = rng.keys(0, count=4)
    with rng.keyed(keys):
        tall = rng.uniform(torch.zeros(12, 2))
    assert len(tall.unique(dim=0)) == 12
    with rng.keyed(keys), pytest.raises(ValueError, match="divides 5"):
        rng.uniform(torch.zeros(5, 2))


def test_uniform_stays_below_one_in_every_dtype():
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        values = draw("uniform", dtype=dtype)
        assert values.dtype == dtype
        assert values.min() >= 0
        assert values.max() < 1


def test_outside_a_block_torch_draws():
    torch.manual_seed(5)
    expected = torch.rand(3, 2)
    torch.manual_seed(5)
    assert torch.equal(rng.uniform(torch.zeros(3, 2)), expected)


def test_rows_of_a_block_are_keyed_as_before_and_draw_on():
    keys = rng.keys(3, count=6)
    with rng.keyed(keys):
        rng.normal(torch.zeros(6, 2))
        whole = rng.normal(torch.zeros(6, 2))
        after = rng.normal(torch.zeros(6, 2))
    with rng.keyed(keys):
        rng.normal(torch.zeros(6, 2))
        with rng.rows(slice(1, None, 2)):
            assert rng.normal(torch.zeros(3, 2)).equal(whole[1::2])
        assert rng.normal(torch.zeros(6, 2)).equal(after)
    with rng.rows(slice(0, 2)):  # no block, no keys
        assert not rng.is_keyed()


def test_noise_is_that_of_the_block_in_every_thread():
    """The backward pass on a GPU, which recomputes activations, runs in a separate thread."""
    like = torch.empty(3, 2)
    with rng.keyed(rng.keys(5, count=3)), ThreadPoolExecutor(1) as pool:
        there = pool.submit(rng.uniform, like).result()
        assert rng.tell() == 1
        rng.seek(0)
        assert torch.equal(rng.uniform(like), there)


@pytest.mark.slow
def test_a_compiler_makes_no_index_of_more_than_32_bits(tmp_path, monkeypatch):
    """Triton rejects such an index, which inductor generates from ``arange`` times a constant."""
    from torch._inductor.utils import run_and_get_code

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    like = torch.empty(8, 5)
    with rng.keyed(rng.keys(1, count=4)):
        expected = rng.uniform(like)
    with rng.keyed(rng.keys(1, count=4)):
        result, code = run_and_get_code(torch.compile(rng.uniform, fullgraph=True), like)
    assert torch.equal(result, expected)
    assert "arange" in code[0]
    assert not re.search(r"\d{10,}L*\)?\s*\*\s*\(?x\d", code[0])


@pytest.mark.parametrize("rows", [4, 8])
@pytest.mark.parametrize("selection", [slice(0, 4), slice(1, None, 2), slice(2, 4)])
def test_the_host_draws_the_first_rows_number_itself(rows, selection):
    keys = rng.keys(3, 5, count=4, first=8)
    with rng.keyed(keys, lambda row: rng.key(3, 5, row=8 + row)):
        rng.uniform(torch.empty(4, 2))
        with rng.rows(selection):
            count = len(range(4)[selection]) * rows // 4
            start = rng.state()
            on_host, draws = rng.uniform_of_first(count), rng.tell()
            with rng.restore(start):
                drawn = rng.uniform(torch.empty(count, 1, dtype=torch.float64))
                assert (on_host, draws) == (drawn[0].item(), rng.tell())
    assert rng.uniform_of_first(4) is None
    with rng.keyed(keys):
        assert rng.uniform_of_first(4) is None
        assert rng.tell() == 0
