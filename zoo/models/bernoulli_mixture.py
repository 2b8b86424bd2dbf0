"""A mixture of products of Bernoullis over binary data, fitted by expectation maximisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.checks import Positive, PositiveFloat, checked
from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.core.model import GenerativeModel
from zoo.models.families.binary import sample_bits


class BernoulliMixture(GenerativeModel):
    r"""A mixture of Bernoullis, p(x) = sum_k pi_k prod_i p_ki^{x_i} (1 - p_ki)^{1 - x_i}, for binary data.

    "MoBernoullis" of Larochelle & Murray 2011 (NADE) and Germain et al. 2015 (MADE). A step of expectation
    maximisation, with responsibilities r_k(x) and n_k = sum_x r_k(x), is

        pi_k = n_k / n,   p_ki = (sum_x r_k(x) x_i + a) / (n_k + 2 a),

    where the small count a keeps every probability off 0 and 1. The probabilities start at random in
    [1/4, 3/4]. It may be trained by gradients as well.

    Args:
        spec: the data, of two levels.
        components: number of components K, for each label.
        pseudo_count: the count a, of a one and of a zero in each component.
        conditional: a mixture for each label.

    Raises:
        ZooError: the data are not binary.
    """

    family = "autoregressive"
    sampling = "parallel"
    objective = "expectation_maximisation"
    data_kind = "binary"

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        components: Positive = 10,
        pseudo_count: PositiveFloat = 0.01,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, conditional)
        self.pseudo_count = pseudo_count
        labels = max(1, self.context)
        self.weight = nn.Parameter(torch.zeros(labels, components))
        self.logits = nn.Parameter(torch.logit(0.25 + 0.5 * torch.rand(labels, components, spec.dim)))

    def joint(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log pi_k + log p(x | k), ``(B, K)``, in nats, of binary ``x`` ``(B, *shape)``."""
        flat = x.flatten(1)
        # log p(x | k) = sum_i x_i l_ki + log(1 - p_ki), since log p - log(1 - p) = l
        none = nn.functional.logsigmoid(-self.logits).sum(2) + self.weight.log_softmax(1)
        values = torch.einsum("bd,ykd->ybk", flat, self.logits) + none[:, None]
        return values[0] if context is None else torch.einsum("ybk,by->bk", values, context)

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        joint = self.joint(x, context)
        return joint.to(torch.promote_types(joint.dtype, torch.float32)).logsumexp(1)

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        label = torch.zeros(n, dtype=torch.long, device=self.device) if context is None else context.argmax(1)
        edges = self.weight.softmax(1)[label].cumsum(1)[:, :-1]
        chosen = (rng.uniform(edges.new_empty(n, 1)) > edges).sum(1)
        logits = self.logits[label, chosen].view(n, *self.spec.shape)
        return sample_bits(logits, temperature)

    @torch.no_grad()
    def statistics(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """Return sums of responsibilities and of ones, by label and component, and the sum of log p."""
        x = x.to(device=self.device, dtype=self.dtype)
        context = self.one_hot(y, len(x))
        joint = self.joint(x, context)
        log_prob = joint.logsumexp(1)
        responsibilities = (joint - log_prob[:, None]).exp()
        shares = x.new_ones(len(x), 1) if context is None else context
        weighted = torch.einsum("bk,by->ykb", responsibilities, shares)
        return {
            "log_prob": log_prob.double().sum(),
            "examples": shares.double().sum(),
            "count": weighted.sum(2).double(),
            "ones": (weighted @ x.flatten(1)).double(),
        }

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> Tensor:
        """Set weights and probabilities from sums over the training set; return the mean log p before."""
        a, count, ones = self.pseudo_count, statistics["count"], statistics["ones"]
        zeros = count[..., None] - ones
        self.logits.copy_((ones + a).log() - (zeros.clamp(min=0) + a).log())
        self.weight.copy_(count.clamp(min=a).log())
        return statistics["log_prob"] / statistics["examples"]
