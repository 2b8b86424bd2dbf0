"""The code of a user's own models is part of a run's identity, with the modules that it imports."""

from __future__ import annotations

import pytest

from zoo.config import compose_run, identify

MODEL = "import torch\nfrom helpers import tools\nfrom .near import x\n\n\nclass Mine:\n    pass\n"


@pytest.fixture
def own(workdir):
    (workdir / "conf/model").mkdir(parents=True)
    (workdir / "conf/model/mine.yaml").write_text("_target_: mine.models.Mine\nwidth: 3\n")
    (workdir / "mine").mkdir()
    (workdir / "helpers").mkdir()
    for name, text in {
        "mine/__init__.py": "",
        "mine/models.py": MODEL,
        "mine/near.py": "from . import far\nx = 1\n",
        "mine/far.py": "import os\n",
        "helpers/tools.py": "import numpy\n",
        "unused.py": "",
    }.items():
        (workdir / name).write_text(text)
    return workdir


def code():
    return identify(compose_run(["model=mine"])).config["code"]


def test_the_modules_that_a_model_imports_count_and_libraries_do_not(own):
    assert set(code()) == {"mine", "mine.models", "mine.near", "mine.far", "helpers.tools"}


@pytest.mark.parametrize("file", ["mine/models.py", "mine/near.py", "mine/far.py", "helpers/tools.py"])
def test_a_change_of_any_of_them_is_another_run(own, file):
    before = identify(compose_run(["model=mine"]))
    (own / file).write_text((own / file).read_text() + "y = 2\n")
    after = identify(compose_run(["model=mine"]))
    assert after.config_hash != before.config_hash
    assert after.run_id != before.run_id
    changed = {name for name in before.config["code"] if before.config["code"][name] != code()[name]}
    assert changed == {file.removesuffix(".py").replace("/", ".")}


def test_other_files_and_line_ends_do_not_count(own):
    before = code()
    (own / "unused.py").write_text("y = 2\n")
    (own / "mine/near.py").write_bytes((own / "mine/near.py").read_bytes().replace(b"\n", b"\r\n"))
    assert code() == before


def test_code_that_is_not_python_or_not_there_is_left_to_the_run(own):
    (own / "mine/models.py").write_text("class Mine(:\n")
    assert set(code()) == {"mine", "mine.models"}
    (own / "conf/model/mine.yaml").write_text("_target_: nowhere.Mine\n")
    assert "code" not in identify(compose_run(["model=mine"])).config


def test_own_training_and_layers_inside_of_settings_count_too(own):
    layer = "+model.layer={_target_: helpers.tools.Layer}"
    identity_now = identify(compose_run(["model=maf", layer, "training._target_=mine.far.Training"]))
    assert set(identity_now.config["code"]) == {"mine", "mine.far", "helpers.tools"}


def test_shipped_models_have_no_code_in_their_settings():
    assert "code" not in identify(compose_run(["model=maf"])).config
