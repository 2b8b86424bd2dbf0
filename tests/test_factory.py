"""Checkpoints that cannot be loaded: one sentence each, different from errors of the machine."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch

import zoo
from zoo.config import compose_run, model_settings
from zoo.config.targets import class_of
from zoo.data.spec import DataSpec
from zoo.errors import CutOff, ZooError
from zoo.factory import check_given, read_checkpoint
from zoo.running.run import run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return a checkpoint file with everything that loading needs."""
    settings = {"_target_": "zoo.models.realnvp.RealNVP", "hidden": [4]}
    model = zoo.build("realnvp", DataSpec((2,)), hidden=[4])
    about = {"spec": {"shape": [2], "levels": None, "classes": None}, "model": settings, "weights": "model"}
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    path = tmp_path_factory.mktemp("checkpoint") / "sound.ckpt"
    torch.save({"zoo": about, "state_dict": state}, path)
    assert zoo.load(path).sample(3).shape == (3, 2)
    return path


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "pickle", "another's", "list"])
def test_a_file_that_is_not_a_checkpoint_is_an_error_of_one_sentence(checkpoint, tmp_path, damage):
    path = tmp_path / "bad.ckpt"
    if damage in ("empty", "text"):
        path.write_text("" if damage == "empty" else "not a checkpoint")
    elif damage == "cut":
        path.write_bytes(checkpoint.read_bytes()[:-1000])
    else:  # the first needs an unsafe reader
        others = {"pickle": torch.nn.Identity(), "another's": {"state_dict": {}}, "list": [1]}
        torch.save(others[damage], path)
    with pytest.raises(ZooError) as error:
        zoo.load(path)
    assert str(error.value) == (
        f"The checkpoint {path} cannot be read, since it is damaged or not one of zoo's; give another, or "
        "delete it and train the run again."
    )


def test_a_checkpoint_of_other_code_is_an_error(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    content["zoo"]["model"]["hidden"] = [5]
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(
        ZooError, match=r"does not fit zoo\.models\.realnvp\.RealNVP as it is now; load it .*\.$"
    ):
        zoo.load(tmp_path / "other.ckpt")


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), MemoryError()])
def test_an_error_of_the_machine_is_not_reported_as_a_damaged_checkpoint(checkpoint, monkeypatch, error):
    monkeypatch.setattr(torch, "load", lambda *_, **__: (_ for _ in ()).throw(error))
    with pytest.raises(type(error)):
        read_checkpoint(checkpoint)


def test_the_tensors_of_a_checkpoint_are_mapped_and_not_copied(checkpoint):
    before, read = mapped(checkpoint), read_checkpoint(checkpoint)
    assert read["state_dict"]
    assert mapped(checkpoint) == before + 1


def mapped(path):
    """Return how often this process has mapped a file into memory (lines of /proc/self/maps)."""
    return sum(line.rstrip().endswith(str(path)) for line in Path("/proc/self/maps").read_text().splitlines())


def test_a_run_without_enough_memory_keeps_its_checkpoint(checkpoint, workdir, monkeypatch):
    last = workdir / "r/checkpoints/last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(checkpoint.read_bytes())

    def load(*_, **__):
        raise MemoryError

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(CutOff, match="memory"):
        run(compose_run(["model=realnvp", "data=moons", "logger=none", "model.hidden=[4]"]), workdir / "r")
    assert last.read_bytes() == checkpoint.read_bytes()


def test_the_error_of_an_outdated_checkpoint_says_what_to_do(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    content["zoo"]["model"]["preprocessing"] = "logit"
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(ZooError, match=r"old\.ckpt does not fit .*train the run again .*preprocessing"):
        zoo.load(tmp_path / "old.ckpt")


@pytest.mark.parametrize("name", ["ffjord", "gan", "glow", "nsf_coupling", "realnvp", "residual_flow", "vae"])
def test_settings_explained_as_those_of_one_form_are_declared_so(name):
    settings = model_settings(name, {})
    model = class_of(settings, "model")
    (explained,) = re.findall(r"\nArgs:\n(.*?)\n\n", inspect.getdoc(model) + "\n\n", re.DOTALL)
    entries = re.split(r"\n    (?=\w)", f"\n{explained}")[1:]
    for form, other, only in (
        ("vectors", "images", model.for_vectors),
        ("images", "vectors", model.for_images),
    ):
        of_it = {
            e.partition(":")[0] for e in entries if re.search(rf"\({form}( only)?\)\.$", e) and other not in e
        }
        assert of_it <= {*only} <= {*settings}


def test_a_given_setting_that_only_the_other_form_reads_is_refused_in_one_sentence():
    plane, digits = DataSpec((2,)), DataSpec((1, 8, 8), levels=17)
    settings = model_settings("realnvp", {"layers": 40, "hidden": [9], "width": 4})
    with pytest.raises(ZooError) as error:
        check_given(settings, digits, ["width", "layers", "hidden", "layers"])
    assert str(error.value) == (
        "RealNVP does not read model.layers and model.hidden for these images of shape "
        "[1, 8, 8]; leave them out."
    )
    check_given(settings, digits, ["width"])
    check_given(settings, plane, ["layers", "hidden", "pixels"])
    with pytest.raises(ZooError, match=r"model\.width for these vectors of shape \[2\]; leave it out"):
        check_given(settings, plane, ["width"])
    check_given({"_target_": "torch.nn.Identity"}, plane, ["width"])  # another's model declares nothing
    with pytest.raises(ZooError, match="head for these images"):  # continuous ones have a MADE
        check_given(model_settings("pixelcnn", {}), DataSpec((1, 8, 8)), ["hidden", "head"])
