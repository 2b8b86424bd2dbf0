"""The cases of ``python -m benchmarks`` that are not flows: matching, VAE, diffusion, a bare network."""

from __future__ import annotations

from collections.abc import Callable

import floors
import torch
from jobs import Jobs, Make, ours, sampling, training
from suite import FLOOR, ZOO, Job
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import zoo

SOLVER_STEPS = 20  # of flow matching's sampling: as many evaluations of the field by Euler's method
DDIM_STEPS = 10


def matching(batch: int, dim: int = 43, width: int = 128) -> dict[str, Make]:
    """Flow matching with one dense field: a training step, and samples by 20 steps of Euler's method.

    The peer's samples are those of torchcfm's examples: torchdiffeq solves the field from noise to data.
    """
    from zoo.models.bijections.continuous import Solver
    from zoo.models.networks.vector_field import DenseField

    x, hidden = torch.randn(batch, dim), (width,) * 3

    def torchcfm() -> Jobs:
        from torchcfm.conditional_flow_matching import ConditionalFlowMatcher

        matcher, field = ConditionalFlowMatcher(sigma=0.0), DenseField(dim, hidden)

        def loss() -> Tensor:
            t, between, target = matcher.sample_location_and_conditional_flow(torch.randn_like(x), x)
            return (field(t, between) - target).square().mean()

        return {"train": Job(training(field, loss), module=field)}

    def torchdiffeq() -> Jobs:
        from torchdiffeq import odeint

        field, times = DenseField(dim, hidden), torch.linspace(0, 1, SOLVER_STEPS + 1)

        @torch.no_grad()
        def sample() -> None:
            odeint(field, torch.randn(batch, dim), times, method="euler")

        return {"sample": Job(sample, module=field)}

    solver = Solver(method="euler", steps=SOLVER_STEPS)
    model = zoo.build("flow_matching", zoo.DataSpec((dim,)), hidden=hidden, solver=solver)
    shapes = floors.mlp(dim, hidden, dim)
    return {
        ZOO: lambda: {
            "train": Job(training(model, lambda: model.matching_loss(x).mean()), module=model),
            "sample": Job(sampling(model, model.sample, batch), module=model),
        },
        "torchcfm": torchcfm,
        "torchdiffeq": torchdiffeq,
        FLOOR: lambda: {
            "train": floors.products(shapes, batch)["train"],
            "sample": floors.products(shapes * SOLVER_STEPS, batch)["sample"],
        },
    }


def vae(batch: int, latent: int = 16, hidden: int = 512) -> dict[str, Make]:
    """A dense VAE of binary images: one hidden layer each way (pythae's default networks).

    A sample is drawn pixels on both sides; pythae gives their probabilities, from which the peer draws.
    """
    x = (torch.rand(batch, 1, 28, 28) > 0.5).float()

    def pythae() -> Jobs:
        from pythae.models import VAE, VAEConfig

        config = VAEConfig(input_dim=(1, 28, 28), latent_dim=latent, reconstruction_loss="bce")
        model = VAE(config)

        def sample() -> None:
            with torch.no_grad():
                torch.bernoulli(model.decoder(torch.randn(batch, latent))["reconstruction"])

        return {"train": Job(training(model, lambda: model({"data": x})["loss"])), "sample": Job(sample)}

    spec = zoo.DataSpec((1, 28, 28), levels=2)
    model = zoo.build(
        "vae_dense", spec, latent_dim=latent, encoder=(hidden,), decoder=(hidden,), sample_pixels=True
    )

    def of_zoo() -> Jobs:
        jobs = ours(model).jobs(x)
        return {"train": jobs["train"], "sample": jobs["sample"]}

    def floor() -> Jobs:
        decoder = floors.mlp(latent, (hidden,), 784)
        both = floors.products(floors.mlp(784, (hidden,), 2 * latent) + decoder, batch)
        return {"train": both["train"], "sample": floors.products(decoder, batch)["sample"]}

    return {ZOO: of_zoo, "pythae": pythae, FLOOR: floor}


def diffusion(batch: int, channels: int = 32, side: int = 16, peer_channels: int = 24) -> dict[str, Make]:
    """A diffusion model of images of 256 levels: a training step, and samples by ten steps of DDIM.

    The U-Nets have two levels and about equal work; the multiplications of both are in the row. Samples are
    drawn by zoo's ``sample`` and by lucidrains' ``GaussianDiffusion.sample``, both predict the velocity and
    clip the predicted image at each step. The bare arithmetic is as many multiplications as zoo's U-Net has,
    at the rate of a large matrix product.
    """
    from zoo.models.diffusion import Sampler
    from zoo.models.networks.unet import UNetSettings

    shape = (3, side, side)
    x = torch.randint(256, (batch, *shape)).float()

    image, time = torch.zeros(1, *shape), torch.zeros(1)

    def jobs(net: nn.Module, loss: Callable[[], Tensor], sample: Callable[[], None], work: float) -> Jobs:
        return {
            "train": Job(training(net, loss), module=net, multiplications=3 * work),
            "sample": Job(sample, module=net, multiplications=DDIM_STEPS * work),
        }

    sampler = Sampler(method="ddim", steps=DDIM_STEPS)
    unet = UNetSettings(channels=channels)
    model = zoo.build("diffusion", zoo.DataSpec(shape, levels=256), unet=unet, sampler=sampler)
    net = model.velocity.network
    work = batch * multiplications(lambda: net(time, image))

    def of_zoo() -> Jobs:
        return jobs(model, lambda: model.matching_loss(x).mean(), sampling(model, model.sample, batch), work)

    def lucidrains() -> Jobs:
        from denoising_diffusion_pytorch import denoising_diffusion_pytorch as library

        library.tqdm = lambda steps, **_: steps  # no bar of progress
        peer = library.Unet(dim=peer_channels, dim_mults=(1, 2), channels=3)
        whole = library.GaussianDiffusion(
            peer, image_size=side, timesteps=1000, sampling_timesteps=DDIM_STEPS, beta_schedule="cosine"
        )
        given = x / 255

        def sample() -> None:
            if whole.training:
                whole.eval()
            whole.sample(batch_size=batch)

        return jobs(whole, lambda: whole(given), sample, batch * multiplications(lambda: peer(image, time)))

    def floor() -> Jobs:
        return {"train": floors.square_product(3 * work), "sample": floors.square_product(DDIM_STEPS * work)}

    return {ZOO: of_zoo, "lucidrains": lucidrains, FLOOR: floor}


@torch.no_grad()
def multiplications(call: Callable[[], object]) -> float:
    """Return the multiplications of the matrix products and convolutions of a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2


def convnet(batch: int, width: int = 48, side: int = 8) -> dict[str, Make]:
    """The convolutional conditioner of the quickstart, beside a matrix product of as many multiplications."""
    from zoo.models.networks.convnet import ConvNet

    x = torch.randn(batch, 2, side, side)
    net = ConvNet(2, 4, width, 1)
    layers = [(width, 2, 3, side), (width, width, 3, side), (width, width, 1, side), (4, width, 3, side)]
    work = floors.multiplications(layers, batch)

    @torch.no_grad()
    def density() -> None:
        net(x)

    def step() -> None:
        net.zero_grad()
        net(x).square().mean().backward()

    return {
        ZOO: lambda: {"density": Job(density), "train": Job(step)},
        FLOOR: lambda: {"density": floors.square_product(work), "train": floors.square_product(3 * work)},
    }
