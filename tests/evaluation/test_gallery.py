"""The pictures that evaluation writes: each part against its definition, on untrained models."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import SMALL

import zoo
from zoo.cli import main
from zoo.errors import Unsound
from zoo.evaluation.gallery import FRAMES, gallery, great_circle, nearest_of, number_of_images
from zoo.models.bijections.elementwise import Affine
from zoo.models.families.flow import Flow

DIGITS = zoo.DataSpec((1, 8, 8), 17)
PLANE = zoo.DataSpec((2,), None)
SMALLER = {
    "diffusion": {"sampler": {"steps": 8}, "unet": {"channels": 8}},
    "flow_matching": {"unet": {"channels": 8}},
}


def splits(spec: zoo.DataSpec, n: int = 60) -> dict[str, torch.Tensor]:
    make = torch.Generator().manual_seed(0)
    if spec.levels is None:
        return {name: torch.randn(n, *spec.shape, generator=make) for name in ("train", "test")}
    draw = [torch.randint(0, spec.levels, (n, *spec.shape), generator=make).float() for _ in range(2)]
    return dict(zip(("train", "test"), draw, strict=True))


@pytest.mark.parametrize("name", ["realnvp", "vae", "gan", "diffusion", "flow_matching", "pixelcnn"])
def test_every_family_has_samples_of_the_shared_seeds_and_their_neighbours(name: str) -> None:
    torch.manual_seed(0)
    model, data = zoo.build(name, DIGITS, **SMALLER.get(name, {})), splits(DIGITS)
    arrays = gallery(model, data, DIGITS)
    assert arrays is not None
    n = number_of_images(DIGITS)
    np.testing.assert_array_equal(arrays["samples"], model.eval().sample(n, seed=0).numpy())
    differences = data["train"].numpy()[None] - arrays["samples"][:, None].astype(float)
    distances = np.sqrt((differences**2).reshape(n, len(data["train"]), -1).sum(2))
    np.testing.assert_array_equal(arrays["neighbour_indices"], distances.argmin(1))
    np.testing.assert_allclose(arrays["neighbour_distances"], distances.min(1), rtol=1e-5)
    np.testing.assert_array_equal(arrays["neighbours"], data["train"].numpy()[distances.argmin(1)])
    assert arrays["temperature"].shape == (len(arrays["temperature_values"]), n, 1, 8, 8)
    at = arrays["temperature_values"].tolist().index(0.7)
    np.testing.assert_array_equal(arrays["temperature"][at], model.sample(n, 0.7, seed=0).numpy())
    assert ("interpolation" in arrays) == (name not in ("gan", "pixelcnn"))
    assert ("truncation" in arrays) == (name == "gan")
    assert ("steps" in arrays) == (name == "diffusion")


def test_fewer_steps_change_the_samples_and_leave_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    model = zoo.build("diffusion", DIGITS, **SMALLER["diffusion"])
    before = model.sample_steps
    arrays = gallery(model, splits(DIGITS), DIGITS)
    assert arrays is not None
    assert model.sample_steps == before
    model.sample_steps = int(arrays["steps_values"][0])
    expected = model.eval().sample(number_of_images(DIGITS), seed=0)
    np.testing.assert_array_equal(arrays["steps"][0], expected.numpy())


def test_a_latent_walk_of_a_flow_begins_and_ends_at_real_images() -> None:
    torch.manual_seed(0)
    data = splits(DIGITS)
    arrays = gallery(zoo.build("glow", DIGITS), data, DIGITS)
    assert arrays is not None
    walk, ends = arrays["interpolation"], arrays["interpolation_indices"]
    assert walk.shape == (FRAMES, 1, 8, 8)
    np.testing.assert_array_equal(walk[[0, -1]], data["test"].numpy()[ends])


def test_a_great_circle_keeps_the_norm_and_turns_at_a_constant_rate() -> None:
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    points = great_circle(a, b, 4)
    angles = torch.atan2(points[:, 1], points[:, 0])
    torch.testing.assert_close(points.norm(dim=1), torch.full((4,), 3.0))
    torch.testing.assert_close(angles, torch.linspace(0, torch.pi / 2, 4))
    torch.testing.assert_close(great_circle(a, 2 * a, 3)[1], 1.5 * a)


def test_the_extremes_are_the_test_images_of_highest_and_lowest_likelihood() -> None:
    data = splits(DIGITS)
    indices = np.arange(59, -1, -1, dtype=np.int32)
    likelihoods = {"values": np.random.default_rng(0).normal(size=60).astype(np.float32), "indices": indices}
    arrays = gallery(zoo.build("realnvp", DIGITS), data, DIGITS, likelihoods)
    assert arrays is not None
    best = int(likelihoods["values"].argmax())
    assert arrays["likely_indices"][0] == indices[best]
    np.testing.assert_array_equal(arrays["likely"][0], data["test"][int(indices[best])].numpy())
    assert arrays["unlikely_values"][0] == likelihoods["values"].min()
    assert (np.diff(arrays["unlikely_values"]) >= 0).all()


def test_a_path_of_points_begins_at_noise_and_ends_at_samples() -> None:
    for name in ("flow_matching", "realnvp", "maf"):
        torch.manual_seed(0)
        model = zoo.build(name, PLANE).eval()
        arrays = gallery(model, splits(PLANE), PLANE)
        assert arrays is not None
        assert list(arrays) == ["path"]
        assert arrays["path"].shape[1:] == (400, 2)
        samples = model.sample(400, seed=0).numpy()
        np.testing.assert_allclose(arrays["path"][-1], samples, atol=0.02, rtol=0.01)
        assert abs(arrays["path"][0].astype(float).std() - 1) < 0.1


def test_a_path_follows_the_layers_in_their_inverse_order() -> None:
    flow = Flow(PLANE, Affine(2.0)).eval()
    path = gallery(flow, splits(PLANE), PLANE)["path"]  # type: ignore[index]
    np.testing.assert_allclose(path[-1], path[0] / 2, atol=1e-3)


def test_what_a_model_cannot_compute_is_left_out(monkeypatch) -> None:
    model = zoo.build("realnvp", DIGITS)

    def overflow(z: torch.Tensor) -> torch.Tensor:
        raise Unsound("The samples hold NaN.")

    monkeypatch.setattr(model, "from_latents", overflow)
    arrays = gallery(model, splits(DIGITS), DIGITS)
    assert arrays is not None
    assert "interpolation" not in arrays
    assert "samples" in arrays


def test_neighbours_are_found_across_blocks_of_the_training_set(monkeypatch) -> None:
    monkeypatch.setattr("zoo.evaluation.gallery.TRAINING_AT_ONCE", 7)
    train, samples = torch.randn(50, 3), torch.randn(5, 3)
    distances, places = nearest_of(samples, train)
    expected = torch.cdist(samples, train).min(1)
    torch.testing.assert_close(distances, expected.values)
    torch.testing.assert_close(places, expected.indices)


def test_a_run_has_a_small_gallery(workdir) -> None:
    assert main(["train", "model=realnvp", "data=digits", *SMALL, "hydra.run.dir=runs/a"]) == 0
    content = Path("runs/a/gallery.npz").read_bytes()
    assert len(content) < 40_000
    with np.load(io.BytesIO(content)) as arrays:
        assert {"samples", "neighbours", "likely", "unlikely", "interpolation"} <= set(arrays)
        assert arrays["samples"].dtype == np.uint8
