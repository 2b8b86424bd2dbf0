"""Tests of DINOv2 against transformers' network and Pillow's resizing (``make_dinov2_fixture.py``)."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from make_dinov2_fixture import FIXTURE, HIDDEN, WIDTH, pictures, tiny_state
from PIL import Image
from torch import nn

from zoo.cli.doctor import weights as doctors_lines
from zoo.config import compose_run
from zoo.data.spec import DataSpec
from zoo.errors import NoLikelihood, ZooError
from zoo.evaluation import dinov2
from zoo.evaluation.classifiers import SHIPPED
from zoo.evaluation.features import DINOV2, DINOV2_FILE, PUBLISHED, select, sha256
from zoo.evaluation.protocol import evaluate
from zoo.running.run import run

SPEC = DataSpec((3, 8, 8), levels=17)
BYTES = DataSpec((3, 20, 13), levels=256)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return a file of tiny weights in the published format."""
    path = tmp_path_factory.mktemp("dinov2") / DINOV2_FILE
    torch.save(tiny_state(), path)
    return path


def extractor_of(path, spec=BYTES, natural=True):
    result, _ = select(spec, natural=natural, name=DINOV2, dinov2_weights=str(path))
    return result


def test_features_are_those_of_transformers(weights):
    """The comparison covers resizing, patches, interpolated positions and the class token."""
    expected = np.load(FIXTURE)
    assert set(expected) == set(pictures())
    for name, images in pictures().items():
        extractor = extractor_of(weights, DataSpec(images.shape[1:], levels=256))
        features = extractor(torch.from_numpy(images))
        assert features.shape == (len(images), extractor.dim) == (len(images), WIDTH)
        torch.testing.assert_close(features, torch.from_numpy(expected[name]).double(), rtol=0, atol=1e-5)


def test_images_are_resized_as_by_pillow():
    mean, std = (np.array(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    for shape in [(3, 32, 32), (3, 224, 224), (1, 28, 28), (3, 300, 7), (1, 500, 400)]:
        image = torch.randint(256, shape, dtype=torch.uint8)
        channels = [
            np.asarray(Image.fromarray(c.float().numpy()).resize((224, 224), Image.Resampling.BICUBIC))
            for c in image.expand(3, -1, -1)
        ]
        expected = torch.from_numpy((np.stack(channels).clip(0, 255) / 255 - mean) / std).float()
        torch.testing.assert_close(dinov2.shown(image[None])[0], expected, rtol=0, atol=2e-6)


def test_a_pickled_extractor_has_the_same_features(weights):
    extractor, x = extractor_of(weights, SPEC), torch.randint(17, (3, 3, 8, 8)).float()
    assert torch.equal(pickle.loads(pickle.dumps(extractor))(x), extractor(x))


def test_features_do_not_depend_on_the_batch(weights):
    """Nor on the call; images of few levels have the features of their bytes."""
    extractor = extractor_of(weights, SPEC)
    x = torch.randint(17, (35, 3, 8, 8)).float()  # more images than the network processes at once
    features = extractor(x)
    assert torch.equal(features, extractor(x))
    for size in (1, 9):
        torch.testing.assert_close(extractor(x, batch_size=size), features, rtol=0, atol=1e-5)
    assert (features[0] - features[1]).abs().max() > 0.1
    assert len(extractor(torch.empty(0, 3, 8, 8))) == 0
    in_bytes = extractor_of(weights, replace(SPEC, levels=256))
    torch.testing.assert_close(in_bytes(torch.floor(x * 255 / 16 + 0.5)), features, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("width", "depth", "published_bytes"),
    [(384, 12, 88_283_115), (768, 12, 346_378_731), (1024, 24, 1_217_586_395)],
)
def test_published_weights_of_every_size_fill_the_network(width, depth, published_bytes):
    """The network's sizes follow from the weights' shapes."""
    with torch.device("meta"):
        state = dinov2.VisionTransformer(width, depth, 4 * width, 14, 37).state_dict()
    state["mask_token"] = torch.empty(1, width, device="meta")
    network = dinov2.build(state)
    assert (network.width, network.depth, network.patch, network.grid) == (width, depth, 14, 37)
    assert network.blocks[-1].mlp.fc1.out_features == 4 * width
    names_and_headers = published_bytes - 4 * sum(weight.numel() for weight in state.values())
    assert 0 < names_and_headers < 600 * len(state)


def test_the_record_has_the_file_and_the_network(weights):
    extractor = extractor_of(weights)
    assert (extractor.name, extractor.key, extractor.sha256) == (DINOV2, "fd/dinov2", sha256(weights))
    assert extractor.details == {
        "network": f"ViT of width {WIDTH}, depth 2, patch 14",
        "published_weights": False,
        "resize": "224, bicubic, antialiased, not rounded",
    }


@dataclass
class Trap:
    """A pickle that runs code when it is loaded unsafely."""

    path: Path

    def __reduce__(self):
        return Path.touch, (self.path,)


def damaged(state, damage):
    if damage == "keys":
        return {"fc.weight": torch.zeros(2)}
    if damage == "list":
        return [1, 2]
    if damage == "shape":
        return state | {"blocks.1.mlp.fc2.weight": torch.zeros(WIDTH, HIDDEN + 1)}
    if damage == "missing":
        return {name: weight for name, weight in state.items() if name != "blocks.1.ls2.gamma"}
    if damage == "registers":  # another network, with more tokens
        return state | {"register_tokens": torch.zeros(1, 4, WIDTH)}
    if damage == "giant":  # another network, with a gated hidden layer
        return {
            name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): w for name, w in state.items()
        }
    if damage == "grid":
        return state | {"pos_embed": state["pos_embed"][:, :-1]}
    if damage == "heads":
        return tiny_state(width=96)
    if damage == "patch":
        return tiny_state(patch=15)
    return state | {"norm.bias": torch.full((WIDTH,), math.nan)}


@pytest.mark.parametrize(
    "damage",
    ["cut", "text", "pickle", "keys", "list", "shape", "missing", "registers", "giant", "grid", "heads",
     "patch", "nan"],
)  # fmt: skip
def test_damaged_or_other_weights_are_an_error(weights, tmp_path, damage):
    path = tmp_path / "weights.pth"
    if damage == "cut":
        path.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "text":
        path.write_text("not found")
    elif damage == "pickle":
        torch.save(tiny_state() | {"mask_token": Trap(tmp_path / "sprung")}, path)
    else:
        torch.save(damaged(tiny_state(), damage), path)
    with pytest.raises(ZooError, match=rf"DINOv2 weights .*cannot be read.*{DINOV2_FILE}") as error:
        extractor_of(path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()


def test_weights_are_searched_at_the_given_path_or_in_the_hub(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    extractor, reason = select(BYTES, natural=True, name=DINOV2)
    assert extractor is None
    for words in (f"fd/dinov2 needs DINOv2's weights: put {DINOV2_FILE}", "evaluation.dinov2_weights"):
        assert words in reason
    with pytest.raises(ZooError, match=r"no DINOv2 weights at nowhere \(evaluation\.dinov2_weights\)"):
        extractor_of("nowhere")
    assert any(f"{DINOV2} " in line and "absent" in line for line in doctors_lines())
    path = PUBLISHED[DINOV2].path()
    path.parent.mkdir(parents=True)
    path.write_bytes(weights.read_bytes())
    assert path.is_relative_to(tmp_path)
    assert select(BYTES, natural=False, name=DINOV2)[0].sha256 == sha256(weights)
    assert select(BYTES, natural=True)[0].name == "random-conv"  # DINOv2 is never chosen by default
    for spec in (DataSpec((2, 8, 8), 256), DataSpec((3, 8, 8), None), DataSpec((2,))):
        assert select(spec, natural=True, name=DINOV2)[0] is None
    assert any(f"{DINOV2} " in line and "ok" in line and str(path) in line for line in doctors_lines())


def test_the_doctor_lists_every_extractor(monkeypatch, tmp_path):
    lines = list(doctors_lines())
    assert [line.split()[0] for line in lines] == [*SHIPPED, *PUBLISHED]
    assert all("ok" in line and "%" in line for line in lines[: len(SHIPPED)])
    monkeypatch.setattr("zoo.evaluation.classifiers.WEIGHTS", tmp_path)
    assert all("unreadable" in line for line in list(doctors_lines())[: len(SHIPPED)])


class Noise(nn.Module):
    family, likelihood = "gan", "none"

    def log_prob(self, x):
        raise NoLikelihood("It has none.")

    def sample(self, n, temperature=1.0):
        return torch.randint(17, (n, *SPEC.shape)).float()


FAST = {"samples": 70, "latency_repeats": 1, "throughput_batches": [1], "throughput_repeats": 1}


def test_the_protocol_can_use_its_features(tmp_path, monkeypatch):
    path = tmp_path / "tiny.pth"
    torch.save(tiny_state(width=64, depth=1, hidden=8, patch=56, grid=2), path)
    real = torch.nn.functional.interpolate(torch.randint(9, (70, 3, 2, 2)).float(), size=8)
    splits = {"train": real.flip(3), "test": real}
    chosen = {**FAST, "extractor": DINOV2, "dinov2_weights": str(path)}
    metrics = evaluate(Noise(), splits, SPEC, natural=True, settings=chosen).metrics
    assert "fid" not in metrics
    for name in ("fd", "kid", "precision", "recall", "density", "coverage", "memorisation"):
        assert metrics[f"{name}/dinov2"].value is not None, metrics[f"{name}/dinov2"].reason
    distance = metrics["fd/dinov2"]
    assert distance.value > distance.details["floor"] > 0
    assert (distance.details["extractor"], distance.details["dim"]) == (DINOV2, 64)
    assert distance.details["weights_sha256"] == sha256(path)
    assert not distance.details["published_weights"]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    absent = evaluate(Noise(), splits, SPEC, natural=True, settings=FAST | {"extractor": DINOV2}).metrics
    assert "fid" not in absent  # the default metrics are replaced
    assert (absent["fd"].value, absent["fd"].reason[:9]) == (None, "fd/dinov2")


def test_missing_weights_are_an_error_before_training(tmp_path):
    overrides = ["model=vae", "training.updates=1", "evaluation.extractor=dinov2"]
    config = compose_run([*overrides, "evaluation.dinov2_weights=nowhere", "logger=none"])
    with pytest.raises(ZooError, match="no DINOv2 weights at nowhere"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
