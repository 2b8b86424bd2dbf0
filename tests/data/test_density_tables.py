"""Tests of the five tables of densities, on small files of the same form with the originals' quirks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zoo.data.density_tables import READERS, SIZES, DensityTable
from zoo.errors import ZooError

RNG = np.random.default_rng(0)


def table(name, root, monkeypatch, sizes):
    monkeypatch.setattr(DensityTable, "sizes", staticmethod(lambda name: sizes))
    data = DensityTable(name, root=str(root))
    data.setup()
    return {split: x.numpy().astype(np.float64) for split, x in data.splits.items()}, data


def test_power_shuffles_and_adds_the_published_noise(tmp_path, monkeypatch):
    x = RNG.normal(size=(200, 8)) * [1, 2, 3, 4, 5, 6, 7, 8]
    (tmp_path / "power").mkdir()
    np.save(tmp_path / "power/data.npy", x)
    splits, data = table("power", tmp_path, monkeypatch, ((162, 18, 20), 6))
    assert (data.spec.shape, data.spec.levels) == ((6,), None)
    random = np.random.RandomState(42)
    rows = x.copy()
    random.shuffle(rows)
    voltage, active, meters = random.rand(200, 1), random.rand(200, 1), random.rand(200, 3)
    noise = np.concatenate([0.001 * active, 0.01 * voltage, meters, np.zeros((200, 1))], 1)
    expected = rows[:, [0, 2, 4, 5, 6, 7]] + noise
    known = expected[:180]
    expected = (expected - known.mean(0)) / known.std(0)
    np.testing.assert_allclose(splits["train"], expected[:162], atol=1e-5)
    np.testing.assert_allclose(splits["val"], expected[162:180], atol=1e-5)
    np.testing.assert_allclose(splits["test"], expected[180:], atol=1e-5)


def test_gas_drops_the_gases_the_time_and_the_first_of_correlated_columns(tmp_path, monkeypatch):
    base = RNG.normal(size=(100, 3))
    frame = pd.DataFrame(
        {"Time": np.arange(100), "Meth": 0.0, "Eth": 1.0, "a": base[:, 0], "b": base[:, 1],
         "copy": base[:, 0] * 2 + 1, "c": base[:, 2]}
    )  # fmt: skip
    (tmp_path / "gas").mkdir()
    frame.to_pickle(tmp_path / "gas/ethylene_CO.pickle")
    splits, _ = table("gas", tmp_path, monkeypatch, ((81, 9, 10), 3))
    kept = frame[["b", "copy", "c"]]
    expected = ((kept - kept.mean()) / kept.std()).to_numpy()
    np.testing.assert_allclose(
        np.concatenate([splits[s] for s in ("train", "val", "test")]), expected, atol=1e-5
    )


def test_hepmass_keeps_the_signal_and_the_test_files_extra_column_goes(tmp_path, monkeypatch):
    def rows(n):
        x = RNG.normal(size=(n, 4))
        x[:, 2] = np.maximum(x[:, 2], 0)  # its smallest value, 0, occurs often
        return np.concatenate([(np.arange(n) % 2)[:, None], x], 1)

    train, test = rows(60), rows(30)
    (tmp_path / "hepmass").mkdir()
    head = "# label,f0,f1,f2,f3"
    np.savetxt(tmp_path / "hepmass/1000_train.csv", train, "%.9f", ",", header=head, comments="")
    extra = np.concatenate([test, np.full((30, 1), 1000.0)], 1)
    np.savetxt(tmp_path / "hepmass/1000_test.csv", extra, "%.9f", ",", header=f"{head},mass", comments="")
    splits, _ = table("hepmass", tmp_path, monkeypatch, ((27, 3, 15), 3))
    signal, other = train[train[:, 0] == 1][:, [1, 2, 4]], test[test[:, 0] == 1][:, [1, 2, 4]]
    mean, deviation = signal.mean(0), signal.std(0, ddof=1)
    np.testing.assert_allclose(splits["train"], ((signal - mean) / deviation)[:27], atol=1e-4)
    np.testing.assert_allclose(splits["test"], (other - mean) / deviation, atol=1e-4)


def test_miniboone_is_standardised_by_training_and_validation(tmp_path, monkeypatch):
    x = RNG.normal(3, 2, size=(100, 5))
    (tmp_path / "miniboone").mkdir()
    np.save(tmp_path / "miniboone/data.npy", x)
    splits, _ = table("miniboone", tmp_path, monkeypatch, ((81, 9, 10), 5))
    known = np.concatenate([splits["train"], splits["val"]])
    np.testing.assert_allclose(known.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(known.std(0), 1, atol=1e-6)


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_named_with_its_source_and_its_place(name, tmp_path):
    with pytest.raises(ZooError, match=rf"is not at {tmp_path}/{name}/\S+; get it from https://zenodo"):
        DensityTable(name, root=str(tmp_path)).setup()


def test_another_version_and_a_damaged_file_have_different_errors(tmp_path):
    (tmp_path / "miniboone").mkdir()
    np.save(tmp_path / "miniboone/data.npy", RNG.normal(size=(100, 43)))
    with pytest.raises(ZooError, match=r"another version of the data: its train split is 81 x 43"):
        DensityTable("miniboone", root=str(tmp_path)).setup()
    (tmp_path / "miniboone/data.npy").write_bytes(b"\x93NUMPY broken")
    with pytest.raises(ZooError, match="is damaged"):
        DensityTable("miniboone", root=str(tmp_path)).setup()
    with pytest.raises(ZooError, match="did you mean hepmass"):
        DensityTable("hepmas")


def test_the_published_sizes_are_the_splits_of_the_published_rows():
    for name, ((train, val, test), _) in SIZES.items():
        if name == "hepmass":
            assert val == int(0.1 * (train + val))
        else:
            total = train + val + test
            assert test == int(0.1 * total)
            assert val == int(0.1 * (total - test))
