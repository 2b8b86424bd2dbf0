"""Tests of users' pictures and tables, and of the errors for invalid ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.data.user import Images, Table
from zoo.errors import ZooError

RNG = np.random.default_rng(0)


def ready(data):
    data.setup()
    return data


def everything(data):
    return torch.cat([data.splits[split] for split in ("train", "val", "test")])


def rows(x):
    return sorted(map(tuple, np.asarray(x).reshape(len(x), -1).tolist()))


def pictures(folder, shapes, suffix="png"):
    """Write random pictures and return their arrays."""
    arrays = [RNG.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    for i, array in enumerate(arrays):
        path = folder / f"class{i % 2}" / f"{i}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
    return arrays


def test_a_folder_of_grey_pictures_has_one_channel(tmp_path):
    arrays = pictures(tmp_path, [(6, 5)] * 20)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_text("no picture")
    data = ready(Images(path=str(tmp_path)))
    assert {split: len(x) for split, x in data.splits.items()} == {"train": 16, "val": 2, "test": 2}
    assert (data.spec.shape, data.spec.levels) == ((1, 6, 5), 256)
    assert rows(everything(data)) == rows(arrays)
    assert not data.natural
    assert data.describe() == ready(Images(path=str(tmp_path))).describe()
    assert data.describe() != ready(Images(path=str(tmp_path), split_seed=1)).describe()
    assert ready(Images(path=str(tmp_path), grey=False)).spec.shape == (3, 6, 5)


def test_a_folder_of_colour_pictures_has_three_channels(tmp_path):
    arrays = pictures(tmp_path, [(4, 4, 3)] * 12)
    data = ready(Images(path=str(tmp_path), val_fraction=0.25, test_fraction=0.25))
    assert {split: len(x) for split, x in data.splits.items()} == {"train": 6, "val": 3, "test": 3}
    assert rows(everything(data)) == rows([a.transpose(2, 0, 1) for a in arrays])
    assert data.natural
    assert ready(Images(path=str(tmp_path), grey=True)).spec.shape == (1, 4, 4)
    few = ready(Images(path=str(tmp_path), levels=4))
    assert few.spec.levels == 4
    assert rows(everything(few)) == rows([a.transpose(2, 0, 1) // 64 for a in arrays])


def test_pictures_of_all_modes_and_sizes_are_converted(tmp_path):
    pictures(tmp_path / "a", [(9, 12)] * 4)
    pictures(tmp_path / "b", [(20, 8, 3)] * 4, suffix="JPG")
    pictures(tmp_path / "c", [(8, 8, 4)] * 4)
    Image.new("P", (10, 10)).save(tmp_path / "palette.png")
    Image.new("1", (10, 10)).save(tmp_path / "bits.png")
    Image.new("RGBA", (7, 7)).save(tmp_path / "clear.png")
    with pytest.raises(ZooError, match=r"differ in size.*data\.size="):
        Images(path=str(tmp_path)).setup()
    data = ready(Images(path=str(tmp_path), size=8))
    assert everything(data).shape == (15, 3, 8, 8)
    assert (everything(data) == 255).flatten(1).all(1).sum() == 1  # transparent pixels become white


@pytest.mark.parametrize("shape", [(20, 6, 5), (20, 6, 5, 1), (20, 6, 5, 3), (20, 3, 6, 5), (20, 1, 6, 5)])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_image_arrays_of_every_layout_are_read(tmp_path, shape, suffix):
    x = RNG.integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / f"x.{suffix}"
    if suffix == "npy":
        np.save(path, x)
    else:
        np.savez(path, anything=x)
    data = ready(Images(path=str(path)))
    channels = 3 if 3 in shape else 1
    assert data.spec.shape == (channels, 6, 5)
    chw = x.transpose(0, 3, 1, 2) if x.ndim == 4 and shape[-1] in (1, 3) else x
    assert rows(everything(data)) == rows(chw)
    assert ready(Images(path=str(path), grey=True)).spec.shape == (1, 6, 5)
    assert ready(Images(path=str(path), grey=False)).spec.shape == (3, 6, 5)
    assert ready(Images(path=str(path), size=4)).spec.shape == (channels, 4, 4)


def test_the_splits_of_an_npz_of_images_are_kept(tmp_path):
    x = RNG.integers(0, 4, (30, 4, 4))
    np.savez(tmp_path / "x.npz", train=x[:20], val=x[20:25], test=x[25:])
    data = ready(Images(path=str(tmp_path / "x.npz"), levels=4))
    np.testing.assert_array_equal(everything(data)[:, 0], x)
    assert data.split_rule == "as given"
    assert ready(Images(path=str(tmp_path / "x.npz"), levels=4, size=9)).spec.shape == (1, 9, 9)
    np.savez(tmp_path / "y.npz", x_train=x[:20], x_test=x[20:])
    data = ready(Images(path=str(tmp_path / "y.npz"), levels=4))
    np.testing.assert_array_equal(data.splits["test"][:, 0], x[20:])
    assert rows(torch.cat([data.splits["train"], data.splits["val"]])) == rows(x[:20])
    assert len(data.splits["val"]) == 2
    assert "other as given" in data.split_rule


@pytest.mark.parametrize(
    ("array", "options", "sentence"),
    [
        (np.zeros((20, 4, 4)), {}, "float64 values; pixels are integers"),
        (np.zeros((20, 4), np.uint8), {}, "shape .20, 4.; images are"),
        (np.zeros((20, 4, 4, 4), np.uint8), {}, "shape .20, 4, 4, 4.; images are"),
        (np.full((20, 4, 4), 200, np.uint8), {"levels": 16}, "from 200 to 200; with data.levels=16"),
        (np.full((20, 4, 4), -1), {}, "from -1 to -1"),
        (np.zeros((9, 4, 4), np.uint8), {}, "holds 9 examples; give at least 10"),
        (np.zeros((0, 4, 4), np.uint8), {}, "holds 0 examples"),
        (np.zeros((0, 4, 4), np.uint8), {"size": 3}, "holds 0 examples"),
        (np.array([None] * 10), {}, "cannot be read"),
    ],
)
def test_an_invalid_image_array_is_an_error(tmp_path, array, options, sentence):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ZooError, match=sentence):
        Images(path=str(tmp_path / "x.npy"), **options).setup()


def test_missing_or_unreadable_pictures_are_an_error(tmp_path):
    with pytest.raises(ZooError, match=r"data=images needs .* data\.path="):
        Images().setup()
    with pytest.raises(ZooError, match=r"no .*nowhere; give an existing data\.path="):
        Images(path="nowhere").setup()
    with pytest.raises(ZooError, match=r"no \.png, \.jpg, \.jpeg file in"):
        Images(path=str(tmp_path)).setup()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ZooError, match=r"broken\.png cannot be read"):
        Images(path=str(tmp_path)).setup()
    with pytest.raises(ZooError, match="neither a folder"):
        Images(path=str(tmp_path / "broken.png")).setup()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "broken.png")
    with pytest.raises(ZooError, match="more than 8 bits"):
        Images(path=str(tmp_path)).setup()
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(ZooError, match="holds the arrays a, b; name the data images"):
        Images(path=str(tmp_path / "two.npz")).setup()
    (tmp_path / "bad.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:-40])
    with pytest.raises(ZooError, match="cannot be read"):
        Images(path=str(tmp_path / "bad.npz")).setup()
    x = np.zeros((20, 4, 4), np.uint8)
    np.savez(tmp_path / "shapes.npz", train=x, val=x, test=x[:, :3])
    with pytest.raises(ZooError, match="differ in shape"):
        Images(path=str(tmp_path / "shapes.npz")).setup()
    for options in ({"levels": 1}, {"levels": 257}, {"size": 0}, {"grey": "maybe"}, {"val_fraction": 0}):
        with pytest.raises(ZooError, match=next(iter(options))):
            Images(path=str(tmp_path), **options)
    with pytest.raises(ZooError, match="together below 1"):
        Images(path=str(tmp_path), val_fraction=0.5, test_fraction=0.5)


def csv(path, x, header="", delimiter=","):
    lines = [delimiter.join(map(repr, row)) for row in x.tolist()]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")


@pytest.mark.parametrize("form", ["csv", "header", "semicolon", "tab", "bom", "npy", "npz", "float32"])
def test_a_table_is_split_and_standardised(tmp_path, form):
    x = RNG.normal(5, 3, (50, 3)) * [1, 10, 100]
    path = tmp_path / f"x.{form if form in ('npy', 'npz') else 'csv'}"
    if form == "npy":
        np.save(path, x)
    elif form == "npz":
        np.savez(path, data=x, other=x)
    elif form == "float32":
        path = tmp_path / "x.npy"
        np.save(path, x.astype(np.float32))
    else:
        delimiter = {"semicolon": ";", "tab": "\t"}.get(form, ",")
        csv(path, x, {"header": 'a,"b, c",3', "bom": "\ufeffa,b,3"}.get(form, ""), delimiter)
    data = ready(Table(path=str(path)))
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 40, "val": 5, "test": 5}
    train = data.splits["train"].double()
    torch.testing.assert_close(train.mean(0), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(3).double(), atol=1e-6, rtol=0)
    original = everything(data).double().numpy() * data.std + data.mean
    np.testing.assert_allclose(np.sort(original, 0), np.sort(x, 0), rtol=1e-4, atol=1e-4)
    about = data.describe().details
    assert about["standardised"]
    assert about["log_scale"] == pytest.approx(np.log(data.std).sum())
    assert about["columns"] == {"header": ["a", "b, c", "3"], "bom": ["a", "b", "3"]}.get(
        form, ["0", "1", "2"]
    )
    assert data.spec.to_dict() == {"shape": [3], "levels": None, "classes": None}


def test_the_splits_of_an_npz_of_columns_are_kept(tmp_path):
    x = RNG.normal(size=(30, 2))
    np.savez(tmp_path / "x.npz", train=x[:20], val=x[20:25], test=x[25:])
    data = ready(Table(path=str(tmp_path / "x.npz")))
    np.testing.assert_allclose(data.mean, x[:20].mean(0))
    np.testing.assert_allclose(everything(data) * data.std + data.mean, x, atol=1e-5)


GOOD = "\n".join(f"{i},{i * i}" for i in range(20))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("a,b\n", "holds 0 examples"),
        ("a,b\n1,2\n3,4\n", "holds 2 examples; give at least 10"),
        (f"a,b\n{GOOD}\n1,red\n", "column 'b', row 21 is 'red'"),
        (f"{GOOD}\nred,2\n", "column '0', row 21 is 'red'"),
        (f"a,b\n1,\n{GOOD}\n", "column 'b', row 1 is ''"),
        (f"a,b\n{GOOD}\nnan,2\n", "column 'a', row 21 is nan; every value must be a finite number"),
        (f"a,b\n{GOOD}\n1,-inf\n", "column 'b', row 21 is -inf"),
        (f"a,b\n{GOOD}\n1,2,3\n", "row 21 has 3 columns, not 2"),
        ("a,b\n" + "\n".join(f"{i},0.1" for i in range(20)), "column 'b' has the same value"),
    ],
)
def test_an_invalid_csv_is_an_error(tmp_path, text, sentence):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ZooError, match=sentence):
        Table(path=str(tmp_path / "x.csv")).setup()


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"data": np.array([["a", "b"]] * 20)}, "<U1 values"),
        ({"data": np.zeros(20)}, "shape .20,.; a table is"),
        ({"data": np.zeros((20, 0))}, "a table is"),
        ({"data": np.zeros((20, 2), complex)}, "complex128"),
        ({"data": np.full((20, 2), np.nan)}, "column '0', row 1 is nan"),
        ({"train": np.eye(20), "val": np.full((2, 20), np.inf)}, "row 1 of val is inf"),
        ({"train": np.eye(20), "test": np.eye(5)}, "differ in their number of columns"),
        ({"train": np.zeros((0, 2)), "val": np.eye(2), "test": np.ones((9, 2))}, "train split .* empty"),
        ({"train": np.zeros((1, 2)), "test": np.ones((9, 2))}, "leaves nothing to train on"),
    ],
)
def test_an_invalid_npz_is_an_error(tmp_path, arrays, sentence):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ZooError, match=sentence):
        Table(path=str(tmp_path / "x.npz")).setup()


def test_an_invalid_table_is_an_error(tmp_path):
    with pytest.raises(ZooError, match=r"data=table needs .* data\.path="):
        Table().setup()
    with pytest.raises(ZooError, match=r"nothere\.csv; give an existing data\.path="):
        Table(path="nothere.csv").setup()
    with pytest.raises(ZooError, match="is a folder"):
        Table(path=str(tmp_path)).setup()
    (tmp_path / "x.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ZooError, match="cannot be read as a csv"):
        Table(path=str(tmp_path / "x.csv")).setup()
