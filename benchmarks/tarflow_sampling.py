"""TarFlow's sampling: one step a token with cached keys and values, against a whole pass for each token.

Prints, for each number of tokens, the seconds to invert one block both ways and their ratio.
"""

from __future__ import annotations

import torch
from common import medians, write
from torch import Tensor

from zoo.models.bijections.transformer_autoregressive import TransformerAutoregressive

BATCH, FEATURES, WIDTH, LAYERS, HEAD_WIDTH = 8, 4, 64, 2, 16


def naive(block: TransformerAutoregressive, z: Tensor) -> Tensor:
    """Return the inverse without a cache: token t costs a pass over the t tokens before it."""
    x = z[:, :1]
    for t in range(1, z.shape[1]):
        mean, log_scale = block._affine(block.network(x)[:, -1:], z)
        x = torch.cat([x, z[:, t : t + 1] * log_scale.exp() + mean], 1)
    return x


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for tokens in (16, 64, 256):
        block = TransformerAutoregressive(
            tokens, FEATURES, width=WIDTH, layers=LAYERS, head_width=HEAD_WIDTH
        ).eval()
        for parameter in block.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        z = torch.randn(BATCH, tokens, FEATURES)
        torch.testing.assert_close(block.inverse(z)[0], naive(block, z), rtol=1e-3, atol=1e-3)
        seconds = medians(
            {
                "cached": lambda block=block, z=z: block.inverse(z),
                "naive": lambda block=block, z=z: naive(block, z),
                "density": lambda block=block, z=z: block(z),
            },
            repeats=5,
        )
        ratio = round(seconds["naive"] / seconds["cached"], 2)
        rounded = {name: round(value, 5) for name, value in seconds.items()}
        rows.append({"tokens": tokens, "seconds": rounded, "naive_over_cached": ratio})
        print(
            f"{tokens:5d} tokens: cached {seconds['cached']:.4f} s, naive {seconds['naive']:.4f} s, "
            f"ratio {ratio:.1f}; a density {seconds['density']:.4f} s",
            flush=True,
        )
    about = {
        "about": "seconds to invert one block",
        "batch": BATCH,
        "features": FEATURES,
        "width": WIDTH,
        "layers": LAYERS,
    }
    print(write("tarflow_sampling", rows, **about))


if __name__ == "__main__":
    main()
