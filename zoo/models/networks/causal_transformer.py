"""A causal transformer, run on a whole sequence or one token at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.models.core.nfe import add_nfe


class CausalTransformer(nn.Module):
    """A transformer whose output at position t depends on tokens 1 .. t (Vaswani et al. 2017).

    h = W x + position + V context; then h += attention(norm h), h += W_2 gelu(W_1 norm h) in each layer; the
    output W_o h starts at zero. :meth:`forward` processes the whole sequence in one pass. :meth:`step`
    processes one more token and uses the earlier keys and values from a :class:`Cache`, which belongs to the
    caller: the module never changes. Over T tokens, both do about the same arithmetic.

    Args:
        in_features: number of features of a token.
        out_features: number of features of the output at each position.
        length: largest number of tokens.
        width: width of the residual stream.
        layers: number of pairs of attention and feed-forward layers.
        head_width: width of an attention head; divides ``width``.
        context: length of the context, which shifts every token; 0 for none.

    Raises:
        ZooError: the head width does not divide the width, or there is no layer.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        length: int,
        *,
        width: int = 64,
        layers: int = 2,
        head_width: int = 16,
        context: int = 0,
    ) -> None:
        super().__init__()
        if layers < 1 or width < 1 or head_width < 1 or width % head_width:
            raise ZooError(
                "A transformer has at least one layer, and its width is a multiple of its head_width; "
                f"got layers={layers}, width={width} and head_width={head_width}."
            )
        self.first = nn.Linear(in_features, width)
        self.position = nn.Parameter(1e-2 * torch.randn(length, width))
        self.context = nn.Linear(context, width, bias=False) if context else None
        if self.context is not None:
            nn.init.normal_(self.context.weight, std=1e-2)
        self.layers = nn.ModuleList(_Layer(width, width // head_width) for _ in range(layers))
        self.last = nn.Linear(width, out_features)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``(B, T, out_features)`` from ``(B, T, in_features)`` and a context ``(B, context)``."""
        add_nfe()
        h = self._embed(x, 0, context)
        for layer in self.layers:
            h = layer(h)
        return self.last(h)

    def step(self, token: Tensor, cache: Cache, context: Tensor | None = None) -> Tensor:
        """Return the output ``(B, out_features)`` at the next token ``(B, in_features)``; extend the cache.

        This counts as one sequential evaluation.
        """
        add_nfe()
        h = self._embed(token[:, None], cache.length, context)
        for index, layer in enumerate(self.layers):
            h = layer(h, cache, index)
        cache.length += 1
        return self.last(h)[:, 0]

    def _embed(self, x: Tensor, start: int, context: Tensor | None) -> Tensor:
        h = self.first(x) + self.position[start : start + x.shape[1]]
        return h if self.context is None else h + self.context(context)[:, None]


class Cache:
    """The keys and values of the tokens so far, for one run of :meth:`CausalTransformer.step`.

    If gradients are not recorded, they are written into buffers of the final size.

    Args:
        size: largest number of tokens.

    Attributes:
        length: number of tokens so far.
    """

    def __init__(self, size: int) -> None:
        self.size, self.length = size, 0
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append a key and a value ``(B, heads, 1, head_width)`` of a layer; return all of them so far."""
        if torch.is_grad_enabled():  # writing in place would change tensors that the backward pass needs
            if self.length:
                old_key, old_value = self._kept[layer]
                key, value = torch.cat([old_key, key], 2), torch.cat([old_value, value], 2)
            self._kept[layer] = (key, value)
            return key, value
        if self.length == 0:
            shape = (*key.shape[:2], self.size, key.shape[3])
            self._kept[layer] = (key.new_empty(shape), value.new_empty(shape))
        keys, values = self._kept[layer]
        keys[:, :, self.length], values[:, :, self.length] = key[:, :, 0], value[:, :, 0]
        return keys[:, :, : self.length + 1], values[:, :, : self.length + 1]


class _Layer(nn.Module):
    """h + attention(norm h), then h + W_2 gelu(W_1 norm h)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Tensor, cache: Cache | None = None, index: int = 0) -> Tensor:
        n, length, width = h.shape
        parts = self.query_key_value(self.norm_attention(h)).view(n, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if cache is not None:
            key, value = cache.extend(index, key, value)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=cache is None)
        h = h + self.mix(seen.transpose(1, 2).reshape(n, length, width))
        return h + self.dense(self.norm_dense(h))
