"""Tests against torch-fidelity as an oracle, and of trained runs as its inputs."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

import zoo
from zoo.config import model_settings
from zoo.data.digits import Digits
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.evaluation.classifiers import SHIPPED
from zoo.evaluation.context import Context
from zoo.evaluation.features import INCEPTION, INCEPTION_FILE, classifier, inception, select, to_uint8
from zoo.evaluation.fidelity import Generator, generator
from zoo.evaluation.metrics import measure
from zoo.evaluation.metrics.kid import mmd

SPEC = DataSpec((3, 8, 8), levels=17)
QUIET = {"cuda": False, "verbose": False, "cache": False, "save_cpu_ram": True}


class Images(Dataset):
    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.pixels[index]


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Let both resize images to 75x75, the network's minimum, instead of 299x299: 16 times faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 75)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return a file of random Inception weights in the published format."""
    with pytest.MonkeyPatch.context() as patch:  # its constructor would download the published weights
        fresh = FeatureExtractorInceptionV3.__new__(FeatureExtractorInceptionV3)
        module = "torch_fidelity.feature_extractor_inceptionv3"
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(f"{module}.load_state_dict_from_url", lambda *args, **kwargs: {})
        torch.manual_seed(5)
        fresh.__init__(INCEPTION, ["2048"])
    state = {name: tensor.half().float() for name, tensor in fresh.state_dict().items()}
    path = tmp_path_factory.mktemp("inception") / INCEPTION_FILE
    torch.save(state, path)
    return path


def pictures(n, seed, spread=16):
    source = torch.Generator().manual_seed(seed)
    smooth = torch.rand(n, 3, 2, 2, generator=source)
    fine = torch.rand(n, 3, 8, 8, generator=source)
    mixed = torch.nn.functional.interpolate(smooth, size=8, mode="bilinear") * 0.7 + fine * 0.3
    return (mixed * spread).round()


def judged(samples, real, spec, extractor):
    return measure(Context(samples, {"train": real, "test": real}, spec, extractor=extractor))


def test_inception_through_a_weights_file_agrees_with_torch_fidelity(weights):
    """The comparison covers bytes, resizing, the 2048 features, KID, precision and recall."""
    extractor, _ = select(SPEC, natural=True, inception_weights=str(weights))
    assert extractor.key == f"fd/{INCEPTION}"  # only the published weights give FID
    ours, real = pictures(6, 1, spread=13), pictures(6, 2)
    metrics = judged(ours, real, SPEC, extractor)
    theirs = calculate_metrics(
        input1=Images(to_uint8(ours, 17)), input2=Images(to_uint8(real, 17)), prc=True, kid=True,
        kid_subset_size=6, kid_subsets=1, feature_extractor=INCEPTION,
        feature_extractor_weights_path=str(weights), batch_size=4, **QUIET,
    )  # fmt: skip
    value, expected = metrics[f"kid/{INCEPTION}"].value, theirs["kernel_inception_distance_mean"]
    assert value == pytest.approx(expected, rel=1e-4, abs=1e-7)
    for name in ("precision", "recall"):
        assert metrics[f"{name}/{INCEPTION}"].value == pytest.approx(theirs[name], abs=1e-4)
    assert "more than 2048" in metrics[f"fd/{INCEPTION}"].reason


def test_fid_through_a_weights_file_agrees_with_torch_fidelity(weights):
    """An early layer is used, because its 64 features need few images."""
    ours, real = pictures(66, 1, spread=13), pictures(70, 2)
    metric = judged(ours, real, SPEC, inception(weights, 17, layer="64"))[f"fd/{INCEPTION}-64"].value
    theirs = calculate_metrics(
        input1=Images(to_uint8(ours, 17)), input2=Images(to_uint8(real, 17)), fid=True,
        feature_layer_fid="64", feature_extractor_weights_path=str(weights), batch_size=22, **QUIET,
    )  # fmt: skip
    assert metric == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4, abs=1e-7)
    assert metric > 0


class DigitsFeatures(FeatureExtractorBase):
    """The packaged digits' classifier as an extractor of torch-fidelity."""

    def __init__(self, name, features_list, **kwargs):
        super().__init__(name, features_list)
        self.classifier, _ = SHIPPED["digits-cnn"].load()

    @staticmethod
    def get_provided_features_list():
        return ("32",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "32"

    @staticmethod
    def can_be_compiled():
        return False

    def forward(self, x):
        return (self.classifier.features(x[:, :1]),)


def test_metrics_agree_with_torch_fidelity_in_the_packages_features():
    if "zoo-digits" not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor("zoo-digits", DigitsFeatures)
    data = Digits()
    data.setup()
    ours, real = data.splits["train"][:150].roll(1, 3), data.splits["test"][:150]
    metrics = judged(ours, real, data.spec, classifier("digits-cnn", data.spec))
    theirs = calculate_metrics(
        input1=Images(ours.expand(-1, 3, -1, -1)), input2=Images(real.expand(-1, 3, -1, -1)),
        fid=True, kid=True, prc=True, kid_subset_size=150, kid_subsets=1,
        feature_extractor="zoo-digits", **QUIET,
    )  # fmt: skip
    pairs = {"fd": "frechet_inception_distance", "kid": "kernel_inception_distance_mean"}
    for name, key in {**pairs, "precision": "precision", "recall": "recall"}.items():
        assert metrics[f"{name}/digits-cnn"].value == pytest.approx(theirs[key], rel=1e-4, abs=1e-4)


def test_the_kernel_distance_is_the_mean_over_torch_fidelitys_subsets():
    x, y = torch.randn(60, 4), torch.randn(70, 4) + 0.3
    subsets = kid_features_to_metric(x, y, kid_subset_size=30, kid_subsets=400, verbose=False)
    spread = subsets["kernel_inception_distance_std"] / 20
    assert mmd(x, y)[0] == pytest.approx(subsets["kernel_inception_distance_mean"], abs=4 * spread)


def test_a_trained_run_is_judged_by_torch_fidelity(tmp_path, weights):
    spec = DataSpec((1, 8, 8), levels=17)
    settings = model_settings("gan", {"width": 2, "latent_dim": 3})
    model = zoo.build("gan", spec, width=2, latent_dim=3)
    about = {"spec": spec.to_dict(), "model": settings, "weights": "raw"}
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    (tmp_path / "checkpoints").mkdir()
    torch.save({"zoo": about, "state_dict": state}, tmp_path / "checkpoints" / "best.ckpt")
    judge = generator(tmp_path)
    options = {
        "input2": Images(torch.randint(256, (70, 3, 8, 8), dtype=torch.uint8)),
        "fid": True,
        "feature_layer_fid": "64",
        "feature_extractor_weights_path": str(weights),
        **QUIET,
    }
    given = calculate_metrics(input1=judge, input1_model_num_samples=66, batch_size=66, **options)
    drawn = judge(_noise(66))
    assert (drawn.shape, drawn.dtype) == ((66, 3, 8, 8), torch.uint8)
    assert torch.equal(drawn, torch.cat([judge(z) for z in _noise(66).split(7)]))
    again = calculate_metrics(input1=Images(drawn), batch_size=66, **options)
    assert given["frechet_inception_distance"] == again["frechet_inception_distance"]
    with pytest.raises(ZooError, match="grey or RGB"):
        Generator(nn.Identity(), DataSpec((2,)))


def _noise(n):
    return torch.from_numpy(np.random.RandomState(2020).randn(n, 4)).float()


@pytest.mark.parametrize("damage", ["cut", "text", "keys", "pickle"])
def test_damaged_inception_weights_are_an_error(weights, tmp_path, damage):
    path = tmp_path / "weights.pth"
    if damage == "cut":
        path.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "text":
        path.write_text("not found")
    elif damage == "keys":
        torch.save({"fc.weight": torch.zeros(2)}, path)
    else:
        torch.save(nn.Identity(), path)  # a pickle that a safe reader does not load
    with pytest.raises(ZooError, match="cannot be read"):
        select(SPEC, natural=True, inception_weights=str(path))


@pytest.mark.parametrize("damage", ["cut", "other", "nan", "absent"])
def test_a_damaged_classifier_is_an_error(tmp_path, damage):
    shipped = SHIPPED["digits-cnn"]
    path = tmp_path / "weights.safetensors"
    state = shipped.load()[0].state_dict()
    if damage == "cut":
        path.write_bytes(shipped.path.read_bytes()[:-100])
    elif damage == "other":
        save_file({"head.weight": torch.zeros(2)}, str(path))
    elif damage == "nan":
        save_file(state | {"head.bias": torch.full((10,), math.nan)}, str(path))
    with pytest.raises(ZooError, match=shipped.command):
        shipped.load(path)


def test_an_extractor_is_found_by_name(weights):
    digits, mnist = DataSpec((1, 8, 8), 17), DataSpec((1, 28, 28), 256)
    assert select(digits, natural=False, name="digits-cnn")[0].key == "fd/digits-cnn"
    assert select(digits, natural=False, name=INCEPTION, inception_weights=str(weights))[0].name == INCEPTION
    extractor, reason = select(mnist, natural=False, name="digits-cnn")
    assert extractor is None
    assert "(1, 8, 8)" in reason
    with pytest.raises(ZooError, match="did you mean inception-v3-compat"):
        select(digits, natural=False, name="inception-v3")
    assert select(DataSpec((2,)), natural=False, name=INCEPTION)[0] is None


def test_a_pickled_inception_has_the_same_features(weights):
    extractor, x = inception(weights, 17, layer="64"), pictures(2, 1)
    assert torch.equal(pickle.loads(pickle.dumps(extractor))(x), extractor(x))


def test_an_empty_set_of_images_has_no_features():
    assert classifier("digits-cnn", DataSpec((1, 8, 8), 17))(torch.empty(0, 1, 8, 8)).shape == (0, 32)
