"""Tests of columns of objects, of labels, and of the arrays beside the examples."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from zoo.data.images import Images
from zoo.data.tables import Table
from zoo.errors import InvalidData

RNG = np.random.default_rng(6)
N = 120
X = RNG.normal(size=(N, 3))
Y = RNG.integers(0, 3, N)


def described(path, **settings):
    data = Table(path=str(path), **settings)
    data.setup()
    return data.describe()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[1, 2]] * N, "holds lists"),
        ([{"u": 1}] * N, "holds mappings"),
        ([b"ab"] * N, "holds bytes"),
        (pd.to_timedelta(np.arange(N), unit="s"), "holds dates or times"),
        (pd.date_range("2020", periods=N).date, "holds text or dates"),
        (pd.Categorical(["u", "v"] * (N // 2)), "holds text or dates"),
    ],
)
def test_a_column_of_objects_is_an_error_with_its_kind(tmp_path, values, kind):
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "l": values}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InvalidData, match=rf"column 'l' {kind} \(row 1 .*data\.drop=\[l\]"):
        described(tmp_path / "x.parquet")
    assert described(tmp_path / "x.parquet", drop=["l"]).shape == [2]


def test_a_column_of_lists_is_no_label_and_decimals_are_numbers(tmp_path):
    frame = pd.DataFrame({"a": X[:, 0], "l": [[1]] * N, "d": [Decimal(f"{v:.6f}") for v in X[:, 1]]})
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InvalidData, match="column 'l' holds lists, which are no labels"):
        described(tmp_path / "x.parquet", label="l")
    assert described(tmp_path / "x.parquet", drop=["l"]).shape == [2]


@pytest.mark.parametrize(
    ("labels", "known"),
    [
        (X[:, 0], False),
        (X[:, 0].round(1), False),
        (np.arange(N), False),
        ([f"name {i}" for i in range(N)], False),
        (Y, True),
        (Y + 0.5, True),
        (Y > 0, True),
        (["red", "green", "blue"] * (N // 3), True),
    ],
)
def test_measurements_and_names_of_rows_are_no_labels(tmp_path, labels, known):
    pd.DataFrame({"a": X[:, 1], "k": labels}).to_csv(tmp_path / "x.csv", index=False)
    if known:
        assert described(tmp_path / "x.csv", label="k").classes in (2, 3)
    else:
        with pytest.raises(InvalidData, match=r"column 'k' has \d+ distinct values in 120 rows"):
            described(tmp_path / "x.csv", label="k")


@pytest.mark.parametrize("names", [("x", "y"), ("X", "y"), ("data", "target"), ("features", "labels")])
def test_an_array_of_labels_beside_a_table_is_said_and_may_be_used(tmp_path, names):
    np.savez(tmp_path / "x.npz", **{names[0]: X, names[1]: Y, "other": np.zeros(3)})
    data = Table(path=str(tmp_path / "x.npz"))
    data.setup()
    assert f"data.label={names[1]} takes it" in data.notes[0]
    assert "other" in data.notes[0]
    labelled = Table(path=str(tmp_path / "x.npz"), label=names[1])
    labelled.setup()
    assert labelled.spec.classes == 3
    assert labelled.columns == ["0", "1", "2"]
    assert "other is left out" in labelled.notes[0]


def test_labels_by_split_go_with_their_split(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=X[:80], y_train=Y[:80], x_test=X[80:], y_test=Y[80:])
    data = Table(path=str(tmp_path / "x.npz"), label="y")
    data.setup()
    assert data.labels["test"].tolist() == Y[80:].tolist()
    np.savez(tmp_path / "x.npz", x=X, y=Y[:7])
    with pytest.raises(InvalidData, match="labels of 120 examples have the shape"):
        described(tmp_path / "x.npz", label="y")


def test_labels_beside_images_are_their_classes(tmp_path):
    images = RNG.integers(0, 256, (N, 8, 8), dtype=np.uint8)
    for arrays in (
        {"images": images, "labels": Y},
        {"x": images, "y": Y[:, None]},
        {
            f"{s}_{k}": v[p]
            for s, p in (("train", slice(80)), ("test", slice(80, N)))
            for k, v in (("images", images), ("labels", Y))
        },
    ):
        np.savez(tmp_path / "x.npz", **arrays)
        data = Images(path=str(tmp_path / "x.npz"))
        data.setup()
        assert data.spec.classes == 3
        assert set(data.labels) == {"train", "val", "test"}
        assert any("the 3 classes of conditional models" in note for note in data.notes)
        plain = Images(path=str(tmp_path / "x.npz"), labels=False)
        plain.setup()
        assert plain.spec.classes is None
        assert any("left out" in note for note in plain.notes)
    np.savez(tmp_path / "x.npz", images=images, weights=X)
    with pytest.raises(InvalidData, match="no array of labels"):
        Images(path=str(tmp_path / "x.npz"), labels=True).setup()
