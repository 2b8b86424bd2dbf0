"""A model as the jobs of a comparison: density, training step and sampling, by zoo and by its peers.

Peers have a standard normal base. A training step is forward, backward and Adam, the same for all. zoo's side
is its public interface: ``log_prob`` in evaluation mode, with its checks, and ``sample``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from suite import Job
from torch import Tensor, nn

import zoo
from zoo.training.compile import CompiledLoss

Jobs = dict[str, Job]
Make = Callable[[], Jobs]


class Flow:
    """A flow, zoo's or a peer's, whose density, training step and sampling are timed.

    In evaluation zoo computes the weights of linear layers once. nflows does so on request, which is made
    here. normflows' layers cannot: their inverse calls a function that torch has no longer.

    Args:
        module: module with the parameters.
        log_prob: function from a batch to log-densities.
        sample: function from a batch size to samples; None if it is not measured.
    """

    def __init__(
        self, module: nn.Module, log_prob: Callable[[Tensor], Tensor], sample: Callable[[int], object] | None
    ) -> None:
        self.module, self.log_prob, self.draw = module, log_prob, sample
        for layer in module.modules():
            if hasattr(layer, "use_cache") and not type(layer).__module__.startswith("normflows"):
                layer.use_cache()

    def jobs(self, x: Tensor) -> Jobs:
        self.module.train()
        self.initialise(x)
        step = training(self.module, lambda: -self.log_prob(x).mean())
        jobs = {"density": Job(self.density(x)), "train": Job(step, module=self.module)}
        if self.draw is not None:
            jobs["sample"] = Job(sampling(self.module, self.draw, len(x)))
        return jobs

    def initialise(self, x: Tensor) -> None:
        """Let layers start from the statistics of the batch, or of 64 vectors where it has only one."""
        self.log_prob(torch.randn(64, *x.shape[1:]) if x.shape[0] == 1 and x.dim() == 2 else x)

    def density(self, x: Tensor) -> Callable[[], None]:
        """Return a function that evaluates the log-densities of a batch, without gradients."""

        @torch.no_grad()
        def run() -> None:
            if self.module.training:
                self.module.eval()
            self.log_prob(x)

        return run


def sampling(module: nn.Module, draw: Callable[[int], object], n: int) -> Callable[[], None]:
    """Return a function that draws ``n`` samples from a module in evaluation mode."""

    @torch.no_grad()
    def run() -> None:
        if module.training:
            module.eval()
        draw(n)

    return run


def training(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """Return a training step: forward, backward and Adam."""
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=1e-5, foreach=True)

    def run() -> None:
        if not module.training:
            module.train()
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return run


def ours(model: zoo.GenerativeModel) -> Flow:
    return Flow(model, model.log_prob, model.sample)


class Compiled(Flow):
    """A flow whose density and training loss are compiled as ``training.compile=true`` compiles a loss.

    Nothing that is compiled wrongly is timed: the gradients are checked as in a training run, and the
    densities are compared with the plain ones.

    Raises:
        ZooError: torch cannot compile the loss, or compiles it wrongly.
        AssertionError: the densities differ.
    """

    def jobs(self, x: Tensor) -> Jobs:
        torch.compiler.reset()  # else another batch size is compiled for sizes that vary, or not at all
        self.module.train()
        self.initialise(x)
        loss = CompiledLoss(lambda x, _: -self.log_prob(x).mean(), self.module)
        loss.check(x, None)
        density = CompiledLoss(lambda x, _: self.log_prob(x), self.module)
        self.module.eval()
        with torch.no_grad():
            torch.testing.assert_close(density(x, None), self.log_prob(x), rtol=1e-3, atol=1e-3)
        evaluation = Flow(self.module, lambda x: density(x, None), None).density(x)
        step = training(self.module, lambda: loss(x, None))
        return {"density": Job(evaluation), "train": Job(step, module=self.module)}


def compiled(model: zoo.GenerativeModel) -> Flow:
    return Compiled(model, model.log_prob, None)


def normal(z: Tensor) -> Tensor:
    """Return the log-density of a standard normal, as cheaply as possible."""
    return -0.5 * (z * z).flatten(1).sum(1) - 0.5 * math.log(2 * math.pi) * z[0].numel()


def dense(given: int, hidden: tuple[int, ...], out: int) -> nn.Sequential:
    """Return a dense network with SiLU, as zoo's couplings have."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(given, width), nn.SiLU()]
        given = width
    return nn.Sequential(*layers, nn.Linear(given, out))


def of_nflows(transforms: list[Any], shape: tuple[int, ...]) -> Flow:
    from nflows.distributions import StandardNormal
    from nflows.flows.base import Flow as Whole
    from nflows.transforms import CompositeTransform

    flow = Whole(CompositeTransform(transforms), StandardNormal(shape))
    return Flow(flow, flow.log_prob, flow.sample)


def of_normflows(flows: list[Any], dim: int, forward: bool = False) -> Flow:
    """Return a flow of normflows; ``forward`` takes densities in the direction in which it samples."""
    import normflows

    flow = normflows.NormalizingFlow(normflows.distributions.DiagGaussian(dim, trainable=False), flows)
    if not forward:
        return Flow(flow, flow.log_prob, lambda n: flow.sample(n))

    def log_prob(x: Tensor) -> Tensor:
        z, log_det = flow.forward_and_log_det(x)
        return flow.q0.log_prob(z) + log_det

    return Flow(flow, log_prob, lambda n: flow.inverse(torch.randn(n, dim)))


def of_zuko(flow: Any) -> Flow:
    return Flow(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)))


def of_freia(network: Any, dim: int) -> Flow:
    def log_prob(x: Tensor) -> Tensor:
        z, log_det = network(x)
        return normal(z) + log_det

    return Flow(network, log_prob, lambda n: network(torch.randn(n, dim), rev=True))


class WithContext(nn.Module):
    """A network that ignores the context of nflows."""

    def __init__(self, net: nn.Module, hidden: int = 0) -> None:
        super().__init__()
        self.net, self.hidden_features = net, hidden

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x)
