"""Tests of users' pictures, and of the errors for invalid ones."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from zoo.config.content import content_hash
from zoo.data.images import Images
from zoo.errors import InvalidData, ZooError

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
    with pytest.raises(ZooError, match=r"no picture .png, jpg, \.\.\.. in"):
        Images(path=str(tmp_path)).setup()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ZooError, match=r"broken\.png cannot be read"):
        Images(path=str(tmp_path)).setup()
    with pytest.raises(ZooError, match="neither a folder"):
        Images(path=str(tmp_path / "broken.png")).setup()
    (tmp_path / "broken.png").unlink()
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "broken.tif")
    with pytest.raises(ZooError, match=r"from 0\.5 to 0\.5, which are no whole numbers of 16 bits"):
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
    for options in (
        {"levels": 1},
        {"levels": 257},
        {"size": 0},
        {"grey": "maybe"},
        {"labels": "y"},
        {"val_fraction": 0},
    ):
        with pytest.raises(ZooError, match=next(iter(options))):
            Images(path=str(tmp_path), **options)
    with pytest.raises(ZooError, match="together below 1"):
        Images(path=str(tmp_path), val_fraction=0.5, test_fraction=0.5)


# Folders


def colours(folder, count, size=(6, 6), suffix="png", **save):
    """Write random colour pictures into one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            folder / f"{i:02}.{suffix}", **save
        )


@pytest.mark.parametrize("suffix", ["bmp", "tif", "webp", "gif", "ppm", "tga", "JPEG", "jp2"])
def test_every_format_that_pillow_reads_is_used(tmp_path, suffix):
    colours(tmp_path, 12, suffix=suffix)
    assert everything(ready(Images(path=str(tmp_path)))).shape == (12, 3, 6, 6)


def test_omitted_files_are_counted_in_one_note(tmp_path):
    colours(tmp_path, 12)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "film.mpg").write_text("no picture")
    (tmp_path / ".DS_Store").write_text("hidden")
    colours(tmp_path / ".thumbnails", 3)
    data = ready(Images(path=str(tmp_path)))
    assert len(everything(data)) == 12
    (note,) = data.notes
    assert "12 pictures; 6 files are left out" in note
    assert "1 .mpg, 1 .txt and 4 hidden" in note


def test_linked_folders_are_followed_without_cycles(tmp_path):
    colours(tmp_path / "own", 6)
    colours(tmp_path / "far", 7)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").symlink_to(tmp_path / "own")
    (folder / "b").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(folder)
    assert len(everything(ready(Images(path=str(folder))))) == 13
    (folder / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(ZooError, match=r"lost\.png is a link to a file that does not exist"):
        Images(path=str(folder)).setup()


@pytest.mark.parametrize("folders", [("train", "test"), ("Train", "valid", "test")])
def test_a_folder_with_train_and_test_keeps_its_split(tmp_path, folders):
    for i, name in enumerate(folders):
        colours(tmp_path / name, 20 - 4 * i)
    data = ready(Images(path=str(tmp_path)))
    test = np.stack([np.asarray(Image.open(f)) for f in sorted((tmp_path / "test").iterdir())])
    np.testing.assert_array_equal(data.splits["test"], test.transpose(0, 3, 1, 2))
    if len(folders) == 3:
        assert data.split_rule == "as given"
        assert {split: len(x) for split, x in data.splits.items()} == {"train": 20, "val": 16, "test": 12}
    else:
        assert len(data.splits["train"]) + len(data.splits["val"]) == 20
    assert "the split of its folders is kept" in data.notes[0]
    assert not data.labels


LAYOUTS = {
    "train/{} dev/{} test/{}": ("train", "val", "test"),
    "train/{} eval/{}": ("train", "test"),
    "train/{} eval/{} test/{}": ("train", "val", "test"),
    "train/{} val/{} evaluation/{}": ("train", "val", "test"),
    "Training_Set/{} test-images/{}": ("train", "test"),
    "trainset/{} testset/{}": ("train", "test"),
    "images_train2017/{} images_val2017/{} images_test2017/{}": ("train", "val", "test"),
    "a/train/{} a/test/{} b/train/{} b/test/{}": ("train", "test", "train", "test"),
    "train/a/{} holdout/a/{} train/b/{} holdout/b/{}": ("train", "test", "train", "test"),
    "a_train/{} b_train/{} a_test/{} b_test/{}": ("train", "train", "test", "test"),
    "trainA/{} trainB/{} testA/{} testB/{}": ("train", "train", "test", "test"),
    "deep/train/{} deep/dev/{}": ("train", "val"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_split_of_folders_is_kept_whatever_they_are_called(tmp_path, layout):
    held_out = {"val": [], "test": []}
    for part, split in zip(layout.split(), LAYOUTS[layout], strict=True):
        for i in range(12 if split == "train" else 4):
            image = RNG.integers(0, 256, (4, 4), dtype=np.uint8)
            file = tmp_path / part.format(f"{i}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
            if split != "train":
                held_out[split].append(image)
    data = ready(Images(path=str(tmp_path)))
    for split, images in held_out.items():
        if images:
            assert rows(data.splits[split]) == rows(np.stack(images))
    kinds = {name for name in ("a", "b") if f"{name}/" in layout.lower() or f"{name}_" in layout}
    assert data.classes == (["a", "b"] if len(kinds) == 2 else [])


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        ("train/{} test/{} {}", r"called test and train, and pictures outside of them \(00\.png\)"),
        ("train/{} test/{} more/{}", "outside of them"),
        ("cats/{} dogs/{} test/{}", "called test, and pictures outside of them"),
        ("val/{} test/{}", "none called train"),
        ("train/test/{} train/a/{}", "lies in train and in test"),
        ("train/{} dev/{} test/{} eval/{}", "another one called eval"),
    ],
)
def test_folders_of_which_the_split_is_unclear_are_an_error(tmp_path, layout, sentence):
    for part in layout.split():
        colours((tmp_path / part).parent, 6)
    with pytest.raises(ZooError, match=sentence):
        Images(path=str(tmp_path)).setup()


@pytest.mark.parametrize(("empty", "is_refused"), [("test", True), ("Validation", True), ("notes", False)])
def test_an_empty_folder_called_like_a_split_is_an_error(tmp_path, empty, is_refused):
    colours(tmp_path / "train", 12)
    (tmp_path / empty).mkdir()
    if not is_refused:
        assert "at random" in ready(Images(path=str(tmp_path))).split_rule
        return
    with pytest.raises(InvalidData, match=f"{empty} is called like a split and holds no picture"):
        Images(path=str(tmp_path)).setup()


def test_copies_of_training_pictures_in_the_test_are_told_and_may_be_left_out(tmp_path):
    x = RNG.integers(0, 256, (20, 4, 4), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x.repeat(4, 0))
    told = " ".join(ready(Images(path=str(tmp_path / "x.npy"))).notes)
    assert "Copies of training pictures are held out (8 of 8 in val and 8 of 8 in test)" in told
    single = ready(Images(path=str(tmp_path / "x.npy"), drop_repeats=True))
    assert "60 pictures that repeat earlier pictures were left out." in single.notes
    assert sorted(rows(torch.cat(list(single.splits.values())))) == sorted(rows(x[:, None]))
    np.save(tmp_path / "y.npy", x)
    assert ready(Images(path=str(tmp_path / "y.npy"))).notes == []


def test_repeats_are_left_out_with_their_labels_and_from_later_splits(tmp_path):
    x = RNG.integers(0, 256, (20, 4, 4), dtype=np.uint8)
    parts = {"train": x[[0, 1, 2, 3, 4, 5, 6, 7, 7]], "val": x[8:12], "test": x[[0, 12, 13, 1]]}
    labels = {f"y_{split}": part[:, 0, 0] // 128 for split, part in parts.items()}
    np.savez(tmp_path / "x.npz", **parts, **labels)
    data = ready(Images(path=str(tmp_path / "x.npz"), drop_repeats=True))
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 8, "val": 4, "test": 2}
    for split, part in data.splits.items():
        np.testing.assert_array_equal(data.labels[split], part[:, 0, 0, 0] // 128)


@pytest.mark.parametrize("layout", ["train/{}", "test/{}", "bus/{} car/{} train/{}", "train/{} extra/{}"])
def test_a_split_name_without_another_divides_nothing_and_is_no_class(tmp_path, layout):
    for part in layout.split():
        colours((tmp_path / part).parent, 12)
    data = ready(Images(path=str(tmp_path)))
    assert "at random" in data.split_rule
    assert not data.classes
    if " " in layout:
        assert "none in one called val or test" in data.notes[0]
        assert "train" in ready(Images(path=str(tmp_path), labels=True)).classes


def test_class_names_that_hold_the_word_of_a_split_are_classes(tmp_path):
    names = ["test_tubes", "train stations", "trainers", "validators"]
    for name in names:
        colours(tmp_path / name, 6)
    assert ready(Images(path=str(tmp_path))).classes == sorted(names)


@pytest.mark.parametrize("split", [False, True])
def test_class_folders_are_labels_of_the_pictures_in_them(tmp_path, split):
    for part in ("train", "test") if split else ("",):
        for name, value in {"cat": 10, "dog": 20, "emu": 30}.items():
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(8):
                Image.fromarray(np.full((4, 4), value + i % 8, np.uint8)).save(folder / f"{i}.png")
    data = ready(Images(path=str(tmp_path)))
    assert data.spec.classes == 3
    assert data.describe().details["classes"] == ["cat", "dog", "emu"]
    for name, x in data.splits.items():
        assert torch.equal(data.labels[name], x[:, 0, 0, 0].long() // 10 - 1)
    assert any("classes of conditional models" in note for note in data.notes)
    plain = ready(Images(path=str(tmp_path), labels=False))
    assert (plain.spec.classes, plain.labels) == (None, {})
    assert plain.describe().fingerprint == data.describe().fingerprint


def test_labels_without_class_folders_are_an_error(tmp_path):
    colours(tmp_path / "one", 12)
    assert ready(Images(path=str(tmp_path))).spec.classes is None
    with pytest.raises(ZooError, match="there is one class folder, 'one'; give every class"):
        Images(path=str(tmp_path), labels=True).setup()
    colours(tmp_path, 1)
    with pytest.raises(ZooError, match="some pictures lie in no class folder"):
        Images(path=str(tmp_path), labels=True).setup()


# Single files


def damaged_exif(orientation, tag, kind, value, extra=b""):
    """Return the APP1 segment of a JPEG with an orientation and a damaged entry."""
    entries = struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0)
    entries += struct.pack("<HHI", tag, kind, len(value) if kind == 2 else 1) + value
    body = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4) + extra
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


ODD_EXIF = {
    "negative fraction": (0x11A, 10, struct.pack("<I", 38), struct.pack("<ii", -1, 0)),
    "text for a fraction": (0x11A, 2, b"abc\0"),
    "value beyond the end": (0x11A, 5, struct.pack("<I", 9999)),
    "unknown kind": (0x9999, 77, b"abcd"),
    "maker's note": (0x927C, 7, b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("odd", ODD_EXIF)
def test_damaged_exif_entries_do_not_affect_the_orientation(tmp_path, odd):
    wide = np.zeros((8, 16), np.uint8)
    wide[:, 8:] = 255
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    for i in range(12):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg[:2] + damaged_exif(6, *ODD_EXIF[odd]) + jpeg[2:])
    data = ready(Images(path=str(tmp_path)))
    picture = data.splits["train"][0, 0]
    assert picture.shape == (16, 8), "rotated by the orientation"
    assert picture[:8].float().mean() < 10
    assert picture[8:].float().mean() > 245


@pytest.mark.parametrize("orientation", range(10))
def test_orientation_rotates_like_pillow(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    for i in range(10):
        Image.fromarray(np.arange(15, dtype=np.uint8).reshape(3, 5)).save(tmp_path / f"{i}.png", exif=exif)
    with Image.open(tmp_path / "0.png") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(ready(Images(path=str(tmp_path))).splits["train"][0, 0], expected)


def test_pixels_of_every_kind_are_converted_to_8_bits(tmp_path):
    ramp = np.linspace(0, 65535, 16).astype(np.uint16).reshape(4, 4)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray(ramp).save(tmp_path / "deep.tif")
    Image.fromarray((ramp >> 8).astype(np.uint8)).convert("P").save(tmp_path / "palette.png")
    bits = Image.fromarray(np.eye(4, dtype=np.uint8) * 255).convert("1")
    bits.save(tmp_path / "bits.png")
    for i in range(8):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"z{i}.png")
    data = ready(Images(path=str(tmp_path), grey=True))
    result = rows(everything(data))
    assert result.count(tuple((ramp >> 8).flatten().tolist())) == 3
    assert tuple((np.eye(4) * 255).flatten().tolist()) in result
    assert any("2 pictures of 16 bits" in note for note in data.notes)


@pytest.mark.parametrize(("bits", "fills"), [(8, 8), (10, 10), (11, 12), (12, 12), (14, 14), (16, 16)])
@pytest.mark.parametrize("size", [None, 6])
def test_16_bits_are_scaled_by_the_bits_that_all_pictures_fill(tmp_path, bits, fills, size):
    values = RNG.integers(0, 2**bits, (12, 6, 6)).astype(np.uint16)
    values[0, 0, 0] = 2**bits - 1
    values[1] = values[1] % 200  # a dark one keeps the scale of all
    for i, x in enumerate(values):
        Image.fromarray(x).save(tmp_path / f"{i:02}.{'png' if i % 2 else 'tif'}")
    data = ready(Images(path=str(tmp_path), size=size))
    assert rows(everything(data)) == rows(values >> (fills - 8))
    (note,) = data.notes
    assert ("values up to" in note) == (fills < 16)
    assert fills == 16 or f"fill {fills} of them" in note


@pytest.mark.parametrize(("bits", "is_read"), [(12, False), (14, False), (16, True)])
def test_colours_of_16_bits_are_read_if_they_fill_them(tmp_path, bits, is_read):
    for i in range(12):
        write_deep_colour(tmp_path / f"{i:02}.png", RNG.integers(0, 2**bits, (16, 16, 3)).astype(">u2"))
    if is_read:
        data = ready(Images(path=str(tmp_path)))
        assert "of 12 pictures of 16 bits per channel the upper 8 are read" in data.notes[0]
    else:
        with pytest.raises(ZooError, match="12 pictures of 16 bits per channel whose values lie below"):
            Images(path=str(tmp_path)).setup()


def write_deep_colour(file, x):
    """Write a PNG of 16 bits per channel, which Pillow cannot."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    lines = b"".join(b"\0" + row.tobytes() for row in x)
    header = struct.pack(">IIBBBBB", x.shape[1], x.shape[0], 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("kind", ["palette", "RGB", "bits", "LA", "jpg", "npy", "npz"])
def test_grey_is_decided_by_the_pixels(tmp_path, kind):
    x = RNG.integers(0, 256, (12, 6, 6)).astype(np.uint8)
    x = (x // 128) * 255 if kind == "bits" else x
    if kind in ("npy", "npz"):
        three = x[..., None].repeat(3, -1)
        np.save(tmp_path / "x.npy", three)
        np.savez(tmp_path / "x.npz", train=three[:8], test=three[8:])
    for i, image in enumerate(Image.fromarray(array) for array in x):
        if kind == "bits":
            image = image.quantize(2)
        elif kind in ("RGB", "jpg"):
            image = image.convert("RGB")
        elif kind == "LA":
            image.putalpha(Image.new("L", (6, 6), 255))
        elif kind == "palette":
            image = image.convert("P")
        if kind not in ("npy", "npz"):
            image.save(tmp_path / f"{i:02}.{'jpg' if kind == 'jpg' else 'png'}")
    path = str(tmp_path / f"x.{kind}") if kind in ("npy", "npz") else str(tmp_path)
    data = ready(Images(path=path))
    assert data.spec.shape == (1, 6, 6)
    assert kind == "jpg" or rows(everything(data)) == rows(x)
    assert sum("every picture is grey" in note for note in data.notes) == 1
    assert ready(Images(path=path, grey=False)).spec.shape == (3, 6, 6)


def test_one_coloured_pixel_makes_three_channels(tmp_path):
    x = np.full((12, 4, 4, 3), 7, np.uint8)
    x[11, 3, 3, 2] = 8
    np.save(tmp_path / "x.npy", x)
    assert ready(Images(path=str(tmp_path / "x.npy"))).spec.shape == (3, 4, 4)
    for i, image in enumerate(x):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    assert ready(Images(path=str(tmp_path))).spec.shape == (3, 4, 4)


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_truth_values_are_the_black_and_white_of_1_bit_files(tmp_path, levels):
    x = RNG.random((12, 6, 6)) < 0.5
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "files").mkdir()
    for i, image in enumerate(x):
        Image.fromarray(image).save(tmp_path / "files" / f"{i:02}.png")
    arrays, files = (ready(Images(path=str(tmp_path / name), levels=levels)) for name in ("x.npy", "files"))
    assert torch.equal(everything(arrays), everything(files))
    assert everything(arrays).max() == levels - 1


def test_what_holds_no_content_is_left_out_without_waiting_for_any(tmp_path):
    colours(tmp_path / "a", 12)
    os.mkfifo(tmp_path / "a/f.png")
    data = ready(Images(path=str(tmp_path / "a")))
    assert "12 pictures; 1 files are left out" in data.notes[0]
    assert content_hash(tmp_path / "a")
    for read in (content_hash, lambda path: Images(path=path).setup()):
        with pytest.raises(ZooError, match="neither a file nor a folder"):
            read(tmp_path / "a/f.png")


def test_cmyk_and_alpha_become_colours_on_white(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    Image.new("RGBA", (4, 4), (0, 0, 255, 0)).save(tmp_path / "clear.png")
    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "clear_grey.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([9, 9, 9, 0, 255, 0])
    palette.save(tmp_path / "clear_palette.png", transparency=1)
    for i in range(8):
        Image.new("RGB", (4, 4)).save(tmp_path / f"z{i}.png")
    firsts = [tuple(x[:, 0, 0].tolist()) for x in everything(ready(Images(path=str(tmp_path))))]
    assert firsts.count((255, 255, 255)) == 3
    assert firsts.count((255, 0, 0)) == 1
    assert firsts.count((0, 0, 0)) == 8


def test_the_first_frame_of_several_is_used_and_noted(tmp_path):
    colours(tmp_path, 11, size=(4, 4))
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    data = ready(Images(path=str(tmp_path)))
    assert any("of 1 files with several frames the first one is used" in note for note in data.notes)
    assert (255, 0, 0) in [tuple(x[:, 0, 0].tolist()) for x in everything(data)]


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_damaged_pictures_are_an_error_that_names_and_counts_them(tmp_path, damage):
    colours(tmp_path, 12, size=(40, 40))
    for name in ("03.png", "07.png", "09.png"):
        file = tmp_path / name
        file.write_bytes({"cut": file.read_bytes()[:900], "empty": b"", "text": b"<html>"}[damage])
    with pytest.raises(ZooError, match=r"03\.png cannot be read as a picture .*2 more cannot.*07\.png"):
        Images(path=str(tmp_path)).setup()
