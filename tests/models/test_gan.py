"""The two players of every GAN: shapes, seeds, labels, truncation, norms."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from scipy import stats
from shapes import data, every_spec
from torch import Tensor, nn

from zoo.config import compose_run, model_settings, to_dict
from zoo.data.spec import DataSpec
from zoo.errors import NoLikelihood, ZooError
from zoo.factory import instantiate
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.gan import GAN, truncated
from zoo.models.networks.critic import Critic
from zoo.models.networks.lipschitz import SpectralNorm
from zoo.models.networks.style import ModulatedConv, sphere
from zoo.models.stylegan import StyleGAN


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


PLAYERS = {
    "dcgan": lambda spec, **settings: GAN(spec, **settings),
    "residual": lambda spec, **settings: GAN(spec, **{"architecture": "residual", "width": 16} | settings),
    "style": lambda spec, **settings: StyleGAN(spec, **{"width": 8} | settings),
}
every_player = pytest.mark.parametrize("player", PLAYERS)


@every_spec
@every_player
def test_gan_on_every_shape(player: str, spec: DataSpec) -> None:
    model = PLAYERS[player](spec)
    fakes = model.generate(4)
    assert fakes.shape == (4, *spec.shape)
    if spec.levels is not None:
        assert fakes.abs().max() <= 1
    logits = model.critic(fakes)
    assert logits.shape == (4,)
    logits.sum().backward()
    # (A batch can leave a ReLU network's last biases without effect, never all of its weights.)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.generator.parameters())
    assert any(p.grad.abs().sum() > 0 for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.critic.parameters())
    assert model.critic(model.to_network(data(spec, 3))).shape == (3,)
    samples = model.sample(5, seed=1)
    assert samples.shape == (5, *spec.shape)
    spec.check(samples)
    with pytest.raises(NoLikelihood):
        model.log_prob(samples)


@every_player
def test_up_to_64_pixels(player: str) -> None:
    model = PLAYERS[player](DataSpec((3, 64, 64), 256), width=4, hidden=8)
    with torch.no_grad(), count_nfe() as counter:
        assert model.critic(model.generate(1)).shape == (1,)
    assert counter.count == 2


@every_player
def test_gan_samples_follow_from_the_seed(player: str) -> None:
    model = PLAYERS[player](DataSpec((1, 8, 8), 17))
    for name, p in model.named_parameters():  # the per-pixel noise too
        if name.endswith("strength"):
            nn.init.ones_(p)
    samples = model.sample(6, seed=7)
    assert samples.equal(model.sample(6, seed=7))
    assert not samples.equal(model.sample(6, seed=8))
    assert samples[:3].equal(model.sample(3, seed=7))
    assert samples.equal(model.eval().sample(6, seed=7))  # no norm that knows the batch or the mode
    assert model.sample(6, temperature=0.0, seed=1).equal(model.sample(6, temperature=0.0, seed=2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [2, 4, 17, 256, 65536])
def test_network_space_round_trip_is_exact(levels: int, dtype: torch.dtype) -> None:
    model = GAN(DataSpec((1,), levels))
    x = torch.arange(levels, dtype=dtype)[:, None]
    y = model.to_network(x)
    assert y.min() == -1
    assert y.max() == pytest.approx(1, abs=1e-6)
    assert model.from_network(y).equal(x)


@every_player
def test_double_precision_with_every_critic_norm(player: str) -> None:
    for norm in ("none", "group", "spectral", "lipschitz"):
        model = PLAYERS[player](DataSpec((1, 8, 8), 17), critic_norm=norm).double()
        x = model.to_network(data(model.spec, 3, torch.float64)).requires_grad_()
        (slope,) = torch.autograd.grad(model.critic(x).sum(), x, create_graph=True)
        slope.square().sum().backward()  # a gradient penalty differentiates twice
        assert model.sample(2).dtype == torch.float64


def test_refusals() -> None:
    spec = DataSpec((1, 8, 8), 17)
    for settings in (
        {"generator_norm": "batch"},
        {"critic_norm": "batch"},
        {"architecture": "resnet"},
        {"latent_dim": 0},
        {"truncation": 0.0},
        {"truncation": 1.5},
        {"conditional": True},  # without labels
    ):
        with pytest.raises(ZooError):
            GAN(spec, **settings)


# Labels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [DataSpec((1, 8, 8), 17, classes=3), DataSpec((4,), classes=3)], ids=str)
@every_player
def test_both_players_see_the_label(player: str, spec: DataSpec) -> None:
    model = PLAYERS[player](spec, conditional=True)
    for p in model.parameters():  # conditional norms start as if there were no label
        p.data += 0.05 * torch.randn_like(p)
    x = model.to_network(data(spec, 3)).expand(3, *spec.shape)
    zero, one = (model.one_hot(label, 3) for label in (0, 1))
    assert not torch.allclose(model.critic(x, zero), model.critic(x, one))
    with rng.keyed(rng.keys(0, count=3)):
        first = model.generate(3, context=zero)
    with rng.keyed(rng.keys(0, count=3)):
        assert not torch.allclose(model.generate(3, context=one), first)


def test_the_critic_judges_by_projection() -> None:
    features = nn.Linear(5, 6)
    critic = Critic(features, 6, context=3)
    x, y = torch.randn(4, 5), torch.tensor([0, 2, 1, 2])
    f = features(x)
    expected = f @ critic.head.weight[0] + critic.head.bias + (critic.projection.weight.T[y] * f).sum(1)
    torch.testing.assert_close(critic(x, nn.functional.one_hot(y, 3).float()), expected)


# Truncation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.05, 0.383, 0.9])
def test_truncated_latents_are_what_drawing_again_leaves(share: float) -> None:
    z = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bound = stats.norm.ppf((1 + share) / 2)
    cut = truncated(z, share)
    assert cut.abs().max() <= bound + 1e-12
    assert stats.kstest(cut.numpy(), stats.truncnorm(-bound, bound).cdf).pvalue > 1e-3
    assert (cut.sort().indices == z.sort().indices).all()  # monotone
    assert truncated(z, 1.0) is z
    assert truncated(1e3 * z.float(), share).abs().max() <= bound + 1e-6


def test_truncation_acts_on_samples_alone_and_is_told() -> None:
    spec = DataSpec((2,))
    free, cut = GAN(spec), GAN(spec, truncation=0.1)
    cut.load_state_dict(free.state_dict())
    assert cut.sample(500, seed=0).std(0).max() < free.sample(500, seed=0).std(0).min()
    with rng.keyed(rng.keys(0, count=5)):
        made = free.generate(5)
    with rng.keyed(rng.keys(0, count=5)):
        assert made.equal(cut.generate(5))
    assert free.sampling_details() == {}
    assert cut.sampling_details() == {"truncation": 0.1}


@pytest.mark.parametrize("conditional", [False, True])
def test_style_truncation_pulls_w_towards_the_mean(conditional: bool) -> None:
    model = StyleGAN(DataSpec((2,), classes=3), conditional=conditional, truncation=0.3).double()
    generator = model.generator
    y = torch.arange(6) % 3 if conditional else None
    context = model.one_hot(y, 6)
    seen: list[Tensor] = []
    hook = generator.pictures[0].scale.register_forward_hook(lambda layer, given, out: seen.append(given[0]))
    samples = model.sample(6, y=y, seed=0)
    hook.remove()
    assert samples.shape == (6, 2)
    with rng.keyed(rng.keys(0, count=6)):
        z = sphere(model.latents(6, model.latent_dim))
    with torch.no_grad():
        w, mean = generator.style(z, context), generator.centre(context)
        many = sphere(torch.randn(20_000, model.latent_dim, dtype=torch.float64))
        labels = model.one_hot(torch.zeros(20_000, dtype=torch.long), 20_000) if conditional else None
        torch.testing.assert_close(mean[0], generator.style(many, labels).mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(seen[0], mean + 0.3 * (w - mean))


# The style-based generator ----------------------------------------------------------------------------------


@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_convolution_is_one_kernel_for_each_example(demodulate: bool) -> None:
    """Karras et al. 2020, eq. 1 and 3, with every example's kernel made."""
    layer = ModulatedConv(4, 6, 3, 5, demodulate).double()
    h, w = torch.randn(3, 4, 7, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    for example, style, found in zip(h, w, layer(h, w), strict=True):
        kernel = layer.weight * layer.scale(style)[None, :, None, None]
        if demodulate:
            kernel = kernel / kernel.flatten(1).norm(dim=1)[:, None, None, None]
        torch.testing.assert_close(found, nn.functional.conv2d(example[None], kernel, padding=1)[0])


def test_per_pixel_noise_is_a_rows_own_and_has_a_learned_strength() -> None:
    model = StyleGAN(DataSpec((1, 8, 8)), width=4)
    z = torch.zeros(2, model.latent_dim)
    same = model.generator(z)
    torch.testing.assert_close(same[0], same[1])  # its strength starts at zero
    for group in model.generator.layers:
        for layer in group:
            nn.init.ones_(layer.strength)
    grainy = model.generator(z)
    assert (grainy[0] - grainy[1]).abs().min() > 0
    calm = model.generator(z, temperature=0.0)
    torch.testing.assert_close(calm[0], calm[1])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (2,)], ids=str)
def test_a_fresh_style_generator_makes_as_many_pictures_as_latents(shape: tuple[int, ...]) -> None:
    """w has unit variance at the start, and styles that of w: latents differ as pixels do."""
    model = StyleGAN(DataSpec(shape))
    with torch.no_grad():
        w = model.generator.style(sphere(torch.randn(256, model.latent_dim)))
        pictures = model.generate(256)
    assert 0.5 < w.square().mean() < 2
    assert pictures.std(0).mean() > 0.3 * pictures.std()


# Spectral normalisation -------------------------------------------------------------------------------------


def trained(model: GAN, lr: float, steps: int = 60) -> GAN:
    """After steps that would make an unbounded critic steep."""
    x = model.to_network(data(model.spec, 64))
    optimizer = torch.optim.Adam(model.critic.parameters(), lr)
    for _ in range(steps):
        with torch.no_grad():
            fake = model.generate(64)
        loss = model.critic(fake).mean() - model.critic(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def layers(model: GAN) -> list[nn.Module]:
    return [layer for layer in model.critic.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def steepest(model: GAN, n: int = 2000) -> tuple[float, float]:
    """The largest measured slope of the critic: over pairs of examples, and as a gradient's norm."""
    x = torch.rand(n, *model.spec.shape) * 4 - 2
    near = x + 1e-2 * torch.randn_like(x)
    with torch.no_grad():
        rise = (model.critic(x) - model.critic(near)).abs() / (x - near).flatten(1).norm(dim=1)
        far = (model.critic(x) - model.critic(x.flip(0))).abs() / (x - x.flip(0)).flatten(1).norm(dim=1)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(model.critic(x).sum(), x)
    return max(rise.max().item(), far[: n // 2].max().item()), slope.flatten(1).norm(dim=1).max().item()


def test_spectral_normalisation_makes_a_dense_critic_1_lipschitz() -> None:
    free, bounded = (trained(GAN(DataSpec((3,)), critic_norm=norm), 1e-2) for norm in ("none", "spectral"))
    assert max(torch.linalg.matrix_norm(layer.weight, 2) for layer in layers(free)) > 2
    assert all(torch.linalg.matrix_norm(layer.weight, 2) <= 1.01 for layer in layers(bounded))
    assert max(steepest(free)) > 3
    assert 0.1 < max(steepest(bounded)) <= 1.02


def operator(layer: nn.Module, shape: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
    """Largest singular value of a layer as a map of inputs of this shape, from its whole matrix."""
    size = math.prod(shape)
    with torch.no_grad():
        columns = layer(torch.eye(size).view(size, *shape)) - layer(torch.zeros(1, *shape))
    return torch.linalg.matrix_norm(columns.flatten(1), 2).item(), tuple(columns.shape[1:])


def test_spectral_normalisation_of_kernels_bounds_the_convolution_up_to_its_taps() -> None:
    """The paper divides by the norm of the kernel as a matrix (out, in x 9).

    The convolution's own may be larger, by up to sqrt(9), as a pixel takes part in up to nine outputs. The
    critic's slope then obeys the product of the layers' own norms.
    """
    model = trained(GAN(DataSpec((1, 8, 8), 17), width=8, hidden=32, critic_norm="spectral"), 1e-3)
    shape: tuple[int, ...] = (1, 8, 8)
    product = 1.0
    for layer in layers(model):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2) <= 1.03
        if isinstance(layer, nn.Linear):
            product *= torch.linalg.matrix_norm(layer.weight, 2).item()
        else:
            own, shape = operator(layer, shape)
            assert own <= 3 * 1.03
            product *= own
    assert 0 < max(steepest(model, 500)) <= product * 1.001


def test_spectral_normalisation_bounds_every_layer_of_the_residual_critic() -> None:
    """By the root of its taps, the label's projection included; by 1 only what has a single tap."""
    spec = DataSpec((1, 8, 8), 17, classes=3)
    model = GAN(spec, architecture="residual", width=6, critic_norm="spectral", conditional=True)
    seen: dict[nn.Module, tuple[int, ...]] = {}
    for layer in model.critic.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.parametrizations.weight.original)
            layer.register_forward_hook(lambda m, args, out: seen.update({m: tuple(args[0].shape[1:])}))
    with torch.no_grad():
        for _ in range(50):  # each finds the singular vectors better
            model.critic(torch.randn(2, 1, 8, 8), torch.eye(3)[:2])
        model.eval()
        for layer, shape in seen.items():
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
            taps = math.prod(layer.kernel_size) if isinstance(layer, nn.Conv2d) else 1
            assert operator(layer, shape)[0] <= 1.02 * math.sqrt(taps)
    assert any(operator(layer, shape)[0] > 1.2 for layer, shape in seen.items())  # so 1 bounds no such critic
    assert len(seen) > 8


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 5, 7), (1, 1, 2)], ids=str)
@every_player
def test_true_norms_bound_every_layer_and_the_whole_critic_by_1(
    player: str, shape: tuple[int, ...], training: bool
) -> None:
    """Of weights far too large, in training as in evaluation: each layer's matrix has norm 1 or 1/2."""
    spec = DataSpec(shape, 17, classes=3)
    model = PLAYERS[player](spec, critic_norm="lipschitz", conditional=True, width=6)
    seen: dict[nn.Module, tuple[int, ...]] = {}
    bounded = [layer for layer in model.critic.modules() if isinstance(layer, SpectralNorm)]
    assert {id(layer.layer) for layer in bounded} == {id(layer) for layer in layers(model)}
    for layer in bounded:
        nn.init.normal_(layer.layer.weight)
        layer.register_forward_hook(lambda m, args, out: seen.update({m: tuple(args[0].shape[1:])}))
    model.train(training)
    x, y = 3 * torch.rand(40, *shape) - 1, torch.eye(3)[torch.arange(40) % 3]
    for _ in range(2):
        x = x.detach().requires_grad_()
        logits = model.critic(x, y)
        (slope,) = torch.autograd.grad(logits.sum(), x)
    assert 0 < slope.flatten(1).norm(dim=1).max() <= 1.02
    change = (logits[3:] - logits[:-3]).abs() / (x[3:] - x[:-3]).flatten(1).norm(dim=1)  # of equal labels
    assert change.max() <= 1.02
    for layer, size in seen.items():
        if isinstance(layer.layer, nn.Conv2d) and layer.layer.kernel_size == (1, 1):
            size = (size[0], 1, 1)
        assert 0.97 <= operator(layer, size)[0] / layer.coefficient <= 1.02
    assert len(seen) == len(bounded) > 3


def test_true_norms_hold_for_a_trained_critic() -> None:
    """What is trained to be as steep as it can has a slope, of at most 1."""
    flat = trained(GAN(DataSpec((3,)), critic_norm="lipschitz"), 1e-2)
    assert 0.1 < max(steepest(flat)) <= 1.02
    image = trained(GAN(DataSpec((1, 4, 4), 17), width=8, hidden=16, critic_norm="lipschitz"), 1e-2, 20)
    assert 0.01 < max(steepest(image, 200)) <= 1.02


# Published sizes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "generator", "critic"),
    [
        ("sngan_cifar10", 4_276_739, 1_053_824 + 1),  # as the networks of the paper's code; and a bias
        ("wgan_gp_resnet_cifar10", None, 1_053_824 + 1),
        ("wgan_gp_cifar10", None, None),
    ],
)
def test_published_sizes_build(name: str, generator: int | None, critic: int | None) -> None:
    config = compose_run([f"model=published/{name}", "data=cifar10"])
    assert config.training.critic_steps == 5
    assert config.training.ema == 0
    with torch.device("meta"):
        model = instantiate(to_dict(config.model), DataSpec((3, 32, 32), 256))
    assert generator in (None, sum(p.numel() for p in model.generator.parameters()))
    assert critic in (None, sum(p.numel() for p in model.critic.parameters()))


@pytest.mark.parametrize(
    ("name", "spec", "batch_size", "updates", "penalty"),
    [
        ("wgan_gp_mnist", DataSpec((1, 28, 28), 256), 50, 200_000, 10.0),
        ("wgan_gp_toy", DataSpec((2,)), 256, 100_000, 0.1),
    ],
)
def test_published_wgan_gps_of_mnist_and_toys(
    name: str, spec: DataSpec, batch_size: int, updates: int, penalty: float
) -> None:
    config = compose_run([f"model=published/{name}", "data=mnist" if spec.is_image else "data=8gaussians"])
    training = config.training
    assert (training.batch_size, training.updates, training.gradient_penalty) == (
        batch_size,
        updates,
        penalty,
    )
    assert (list(training.betas), training.lr, training.critic_steps) == ([0.5, 0.9], 1e-4, 5)
    with torch.device("meta"):
        model = instantiate(to_dict(config.model), spec)
    inside = [layer.weight.shape for layer in layers(model)]
    if spec.is_image:
        assert [shape[0] for shape in inside[:3]] == [64, 128, 256]
    else:  # as the paper: 3 hidden layers of 512
        assert inside == [(512, 2), (512, 512), (512, 512), (1, 512)]
        hidden = 2 * (512 * 512 + 512)
        assert sum(p.numel() for p in model.critic.parameters()) == 2 * 512 + 512 + hidden + 512 + 1
        assert sum(p.numel() for p in model.generator.parameters()) == 2 * 512 + 512 + hidden + 2 * 512 + 2


# Settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "model_class"), [("gan", GAN), ("stylegan", StyleGAN)])
def test_the_shipped_settings_are_the_defaults(name: str, model_class: type[GAN] | type[StyleGAN]) -> None:
    settings = model_settings(name, {})
    assert settings.pop("_target_") == f"{model_class.__module__}.{model_class.__name__}"
    defaults = {k: p.default for k, p in inspect.signature(model_class).parameters.items() if k != "spec"}
    assert settings == defaults


@pytest.mark.parametrize("name", ["gan", "wgan", "wgan_gp", "sngan", "stylegan"])
def test_every_named_model_is_small_and_brings_its_rule(name: str) -> None:
    config = compose_run([f"model={name}"])
    model = instantiate(to_dict(config.model), DataSpec((1, 8, 8), 17))
    assert 90_000 < sum(p.numel() for p in model.parameters()) < 300_000
    training = config.training
    assert training._target_.endswith("Adversarial")
    assert (
        training.loss,
        training.optimizer,
        training.weight_clip is not None,
        training.gradient_penalty,
    ) == {
        "gan": ("non_saturating", "adam", False, 0),
        "wgan": ("wasserstein", "rmsprop", True, 0),
        "wgan_gp": ("wasserstein", "adam", False, 10),
        "sngan": ("hinge", "adam", False, 0),
        "stylegan": ("non_saturating", "adam", False, 0),
    }[name]
    assert (training.r1 > 0) == (name in ("gan", "stylegan"))
    assert training.betas[0] == 0.0
    assert (config.model.critic_norm == "spectral") == (name == "sngan")
