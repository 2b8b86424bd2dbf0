"""MAF: exact densities and inverses, its cost, its samples, its batch normalisation."""

from __future__ import annotations

import dataclasses
import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from autoregressive_tools import SPECS, integral_2d, normal, perturbed
from maf_tails import CASES, judge, train
from torch import Tensor

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import Unsound
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.bijections.base import Bijection
from zoo.models.core.nfe import count_nfe
from zoo.models.maf import MAF
from zoo.models.maf_mog import MAFMoG
from zoo.models.networks.made import MADE


def jacobian(layer: Bijection, x: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda v: layer(v[None])[0].flatten(), x)


def data_space(spec: DataSpec, batch: int) -> Tensor:
    x = normal(batch, *spec.shape)
    return x if spec.levels is None else spec.levels * (0.02 + 0.96 * torch.sigmoid(x))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.shape}")
@pytest.mark.parametrize("batch", [1, 9])
def test_maf_inverts_and_its_log_det_is_the_jacobians(spec: DataSpec, batch: int) -> None:
    """The layers are small and their weights little perturbed; test_trained.py explains why."""
    model = perturbed(MAF(spec, layers=5, hidden=(32, 24)), scale=0.05)
    x = data_space(spec, batch)
    with torch.no_grad():
        z, log_det = model.transform(x)
        back, back_log_det = model.transform.inverse(z)
    assert z.shape == (batch, spec.dim)
    assert (back - x).abs().max() <= 1e-10
    assert (log_det + back_log_det).abs().max() <= 1e-9
    jac = jacobian(model.transform, x[0]).reshape(spec.dim, spec.dim)
    assert abs(torch.linalg.slogdet(jac)[1] - log_det[0]) <= 1e-8


def test_maf_density_integrates_to_one() -> None:
    model = perturbed(MAF(DataSpec((2,)), layers=3, hidden=(16,)), scale=0.05)
    assert abs(integral_2d(model.log_prob, -40, 40, 1000) - 1) < 1e-3  # the scale has a heavy tail


def test_maf_takes_one_evaluation_per_layer() -> None:
    with count_nfe() as counter:
        MAF(DataSpec((6,)), layers=4, hidden=(8,)).log_prob(torch.zeros(2, 6))
    assert counter.count == 4


@pytest.mark.parametrize("spec", [*SPECS, DataSpec((1, 28, 28), 256)], ids=lambda spec: f"{spec.shape}")
def test_samples_are_data_and_follow_the_seed(spec: DataSpec) -> None:
    model = MAF(spec, layers=2, hidden=(16,))
    large = spec.dim > 100
    with count_nfe() as counter:
        x = model.sample(2 if large else 4, seed=3)
    assert counter.count == 2 * spec.dim
    spec.check(x)
    assert x.dtype == torch.float32
    assert torch.isfinite(model.eval().log_prob(x)).all()
    if not large:
        assert torch.equal(x, model.sample(4, seed=3))
        assert not torch.equal(x, model.sample(4, seed=4))
        torch.testing.assert_close(model.sample(2, seed=3), x[:2])
        assert torch.isfinite(model.sample(2, temperature=0.0, seed=3)).all()


def test_two_hundred_layers_have_finite_densities_and_samples() -> None:
    model = perturbed(MAF(DataSpec((3,)), layers=200, hidden=(8,)), scale=0.03)
    x = normal(5, 3)
    with torch.no_grad():
        z, log_det = model.transform(x)
        back, _ = model.transform.inverse(z)
    assert torch.isfinite(log_det).all()
    assert (back - x).abs().max() < 1e-8


@pytest.mark.parametrize("layers", [1, 5])
def test_without_a_bound_far_out_is_never_a_silent_nan(layers: int) -> None:
    """An overflow is a density of 0 if it is infinite, and an error if it is NaN."""
    unbounded = {"log_scale_bound": None, "input_bound": None, "batch_norm": False}
    model = perturbed(MAF(DataSpec((6,)), layers=layers, hidden=(12, 12), **unbounded), scale=0.05)
    density_of_zero = errors = 0
    for factor in (1.0, 1e3, 1e6):
        for x in factor * normal(20, 1, 6):
            try:
                with torch.no_grad():
                    log_p = model.log_prob(x)
            except zoo.ZooError:
                errors += 1
            else:
                assert not log_p.isnan().any()
                density_of_zero += int(log_p == -torch.inf)
                assert factor > 1 or torch.isfinite(log_p).all()
    assert density_of_zero + errors > 0, "the test reaches an overflow"


def test_samples_that_overflow_are_an_error_not_infinite() -> None:
    """Three scales of e^50 overflow float32. A density of 0 far out is still valid."""
    model = MAF(DataSpec((1,)), layers=3, hidden=(4,), log_scale_bound=None).eval()
    with torch.no_grad():
        for layer in model.transform.modules():
            if isinstance(layer, MaskedAffineAutoregressive):
                layer.network.output.bias.fill_(50.0)
    with pytest.raises(Unsound, match="samples"):
        model.sample(3, seed=0)
    plain = MAF(DataSpec((1,)), layers=1, hidden=(4,)).eval()
    assert plain.log_prob(torch.full((1, 1), 1e30)).item() == -torch.inf


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("model_class", [MAF, MAFMoG])
def test_bounded_inputs_are_bounded_in_both_directions(model_class, residual, context) -> None:
    """The sequential inverse shows the network what the density shows it, with gradients and without."""
    spec = DataSpec((6,), classes=3)
    settings = {"layers": 2, "hidden": (16, 16), "residual": residual, "conditional": context}
    model = perturbed(model_class(spec, input_bound=0.5, **settings), scale=0.1)
    x = 2 * normal(9, 6)
    labels = model.one_hot(torch.arange(9) % 3, 9) if context else None
    z, _ = model.transform(x, labels)
    torch.testing.assert_close(model.transform.inverse(z, labels)[0], x, rtol=0, atol=1e-11)
    with torch.no_grad():
        for rows in (1, 9):
            given = None if labels is None else labels[:rows]
            back = model.transform.invert(z[:rows], given)
            torch.testing.assert_close(back, x[:rows], rtol=0, atol=1e-11)


def test_far_away_a_network_of_bounded_inputs_is_constant() -> None:
    network = perturbed(MADE(3, 2, (16,), input_bound=5.0), scale=0.3)
    near, far, farther = (network(torch.full((1, 3), v, dtype=torch.float64)) for v in (1.0, 1e3, 1e9))
    torch.testing.assert_close(far, farther, rtol=0, atol=1e-12)
    assert not torch.allclose(near[:, 1:], far[:, 1:])


@pytest.mark.parametrize("scale", [0.1, 0.2])
def test_no_point_outside_the_data_falls_off_a_cliff(scale: float) -> None:
    """Eight narrow layers of random weights, points twice as far out; either default alone is too little."""
    case = CASES["8gaussians_narrow"]

    def worst(**form: Any) -> float:
        model = perturbed(MAF(case.spec, **dict(case.settings), **form), scale=scale)
        model.on_training_statistics([(points(0, 2000), None)])
        return judge(dataclasses.replace(case, data=outside, fresh=2000), model.eval())["worst"]

    def points(seed: int, n: int) -> Tensor:
        return case.data(seed, n).double()

    def outside(seed: int, n: int) -> Tensor:
        return 2 * points(seed, n)

    assert worst() > -4000
    for part in ({"input_bound": None}, {"batch_norm": False}, {"input_bound": None, "batch_norm": False}):
        assert worst(**part) < -20_000


@pytest.mark.slow
def test_trained_models_of_all_seeds_are_near_each_other_and_have_no_cliff() -> None:
    case = CASES["8gaussians"]
    outcome = [judge(case, train(case, {}, seed)) for seed in range(3)]
    means = [result["nll"] for result in outcome]
    assert min(result["worst"] for result in outcome) > -200
    assert max(means) - min(means) < 0.15


def test_the_yaml_has_the_constructors_defaults() -> None:
    values = yaml.safe_load((Path(__file__).parents[2] / "conf/model/maf.yaml").read_text())
    assert values.pop("_target_") == f"{MAF.__module__}.{MAF.__qualname__}"
    signature = inspect.signature(MAF).parameters
    for key, value in values.items():
        default = signature[key].default
        default = dataclasses.asdict(default) if dataclasses.is_dataclass(default) else default
        assert value == (list(default) if isinstance(default, tuple) else default)
    assert set(values) == set(signature) - {"spec"}


def test_batch_norm_evaluates_with_the_statistics_of_the_training_set() -> None:
    """The statistics are those of a training pass with all of the data in one batch."""
    model = perturbed(MAF(DataSpec((4,)), layers=3, hidden=(16,), batch_norm=True), scale=0.1).train()
    x = 3 * normal(300, 4) + 1
    with torch.no_grad():
        expected, expected_log_det = model.transform(x)
    model.on_training_statistics([(part, None) for part in x.split(77)])
    assert model.training
    model.eval()
    with torch.no_grad():
        z, log_det = model.transform(x)
        torch.testing.assert_close(z, expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(log_det, expected_log_det, rtol=0, atol=1e-10)
        alone, alone_log_det = model.transform(x[:1])
        torch.testing.assert_close(alone, z[:1], rtol=0, atol=1e-10)
        back, back_log_det = model.transform.inverse(z)
        torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
        torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(lambda v: model.transform(v[None])[0][0], x[0])
    assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(alone_log_det.item(), abs=1e-8)


def test_batch_norm_learns_in_training() -> None:
    model = MAF(DataSpec((3,)), layers=2, hidden=(16,), batch_norm=True).train()
    x = (20 + 5 * normal(400, 3)).float()
    before = -model.log_prob(x).mean().item()
    model.on_training_statistics([(x, None)])
    after = -model.eval().log_prob(x).mean().item()
    assert after == pytest.approx(before, abs=1e-2)  # the earlier batch was the training set
    entropy = 1.5 * math.log(2 * math.pi * math.e) + 3 * math.log(5)
    assert after == pytest.approx(entropy, abs=0.1), "normalised data are standard normal"
