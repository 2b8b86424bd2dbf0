"""Large arrays of users: they stay in their files, and everything else is as if they had been read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.format import open_memmap

from zoo.config.content import content_hash
from zoo.data import mapped
from zoo.data.images import Images
from zoo.data.mapped import MemoryMappedRows, chunks

SHAPES = {"N, C, H, W": (60, 3, 8, 6), "N, H, W, C": (60, 8, 6, 3), "N, H, W": (60, 8, 6)}


def images(path, **settings):
    data = Images("images", path=path, **settings)
    data.setup()
    return data


def file_at(address):
    """Return the file that the kernel has mapped at an address of this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(number, 16) for number in line.split()[0].split("-"))
        if begin <= address < end:
            return line.split(maxsplit=5)[5]
    return None


@pytest.fixture
def everything_is_large(monkeypatch):
    monkeypatch.setattr(mapped, "LARGE", 0)
    monkeypatch.setattr(mapped, "CHUNK", 500)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("settings", [{}, {"drop_repeats": True}, {"val_fraction": 0.3}])
def test_a_mapped_array_has_the_values_of_one_that_is_read(tmp_path, monkeypatch, shape, settings):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    x[7] = x[3]
    np.save(tmp_path / "x.npy", x)
    before = content_hash(tmp_path / "x.npy")
    read = images(tmp_path / "x.npy", **settings)
    assert not any(isinstance(part, MemoryMappedRows) for part in read.splits.values())
    monkeypatch.setattr(mapped, "LARGE", 0)
    monkeypatch.setattr(mapped, "CHUNK", 500)
    lazy = images(tmp_path / "x.npy", **settings)
    for split, part in lazy.splits.items():
        assert isinstance(part, MemoryMappedRows)
        assert file_at(part.base.data_ptr()) == str(tmp_path / "x.npy")
        assert torch.equal(torch.cat(list(chunks(part))), read.splits[split])
    assert lazy.describe() == read.describe()
    assert lazy.notes == read.notes
    assert lazy.spec == read.spec
    assert content_hash(tmp_path / "x.npy") == before
    for update, (one, other) in enumerate(
        zip(read.train_dataloader(16, seed=2), lazy.train_dataloader(16, seed=2), strict=False)
    ):
        assert type(other) is torch.Tensor
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
        if update == 8:
            break
    pairs = zip(read.val_dataloader(4), lazy.val_dataloader(4), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_grey_pictures_of_three_channels_are_found_in_chunks(tmp_path, everything_is_large):
    x = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8).repeat(3, 1)
    np.save(tmp_path / "x.npy", x)
    data = images(tmp_path / "x.npy")
    assert data.spec.shape == (1, 8, 8)
    assert isinstance(data.splits["train"], MemoryMappedRows)
    x[33, 2, 1, 1] ^= 1
    np.save(tmp_path / "x.npy", x)
    assert images(tmp_path / "x.npy").spec.shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("dtype", "settings"), [(np.int64, {}), (bool, {}), (np.uint8, {"size": 4}), (np.uint8, {"grey": True})]
)
def test_an_array_whose_values_change_is_read(tmp_path, everything_is_large, dtype, settings):
    x = np.random.default_rng(0).integers(0, 2, (40, 3, 8, 8)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    data = images(tmp_path / "x.npy", **settings)
    assert not any(isinstance(part, MemoryMappedRows) for part in data.splits.values())


def test_rows_are_those_of_the_file_under_any_operation(tmp_path):
    whole = torch.arange(60.0).reshape(20, 3)
    rows = torch.tensor([3, 1, 4, 15, 9, 2, 6])
    lazy, plain = MemoryMappedRows(whole, rows), whole[rows]
    assert np.array_equal(lazy.numpy(), plain.numpy())
    assert np.array_equal(np.asarray(lazy[1:3].contiguous()), plain[1:3].numpy())
    assert lazy.shape == plain.shape
    assert len(lazy) == 7
    pick = torch.tensor([5, 0, 0])
    assert isinstance(lazy[1:4], MemoryMappedRows)
    for one in (
        lambda x: x[pick], lambda x: x[2], lambda x: x[1:5][pick[1:]], lambda x: x[::2] + 0, lambda x: x[-1],
        lambda x: x.min(), lambda x: x.flatten(1).sum(0), lambda x: x.float() * 2, lambda x: x[:, 1],
        lambda x: torch.cat([x, x]), lambda x: torch.stack([part.sum() for part in x.split(3)]),
        lambda x: x[torch.tensor([True, False] * 3 + [True])], lambda x: x.split([2, 5])[1] + 0,
        lambda x: x.split(1, dim=1)[2] + 0, lambda x: x.to(torch.float64), lambda x: x.clone(),
        lambda x: torch.stack(list(x)), lambda x: (x == x[:1]).all(), lambda x: x.unsqueeze(0),
    ):  # fmt: skip
        result = one(lazy)
        assert type(result) is torch.Tensor
        assert torch.equal(result, one(plain))


PEAK = """
import resource, sys
from zoo.data import mapped
from zoo.data.images import Images
mapped.LARGE = int(sys.argv[2])
mapped.CHUNK = 2**20
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = Images("images", path=sys.argv[1])
data.setup()
data.describe()
for update, x in enumerate(data.train_dataloader(64, stop=50)):
    pass
with open("/proc/self/status") as file:
    print(next(int(line.split()[1]) for line in file if line.startswith("RssAnon")))
"""


@pytest.mark.slow
def test_a_mapped_array_is_not_in_the_process_memory(tmp_path):
    """What a process holds of its own (anonymous memory), after the data were read and batches drawn."""
    size = 256 * 2**20
    x = open_memmap(tmp_path / "x.npy", "w+", np.uint8, (size // (3 * 64 * 64), 3, 64, 64))
    random = np.random.default_rng(0)
    for i in range(len(x)):
        x[i] = random.integers(0, 256, x.shape[1:], dtype=np.uint8)
    x.flush()

    def anonymous(large):
        command = [sys.executable, "-c", PEAK, str(tmp_path / "x.npy"), str(large)]
        return 1024 * int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert anonymous(2**62) - anonymous(0) > 0.8 * size
