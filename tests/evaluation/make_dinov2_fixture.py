"""Make ``dinov2_fixture.npz``: the outputs of transformers' DINOv2 and of Pillow for a tiny network.

zoo does not depend on transformers, whose releases after 4.44 interpolate positions differently from the
published code, so this script runs in a separate environment:

    python -m venv /tmp/oracle
    /tmp/oracle/bin/pip install torch numpy pillow transformers==4.44.2
    /tmp/oracle/bin/python tests/evaluation/make_dinov2_fixture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

FIXTURE = Path(__file__).with_name("dinov2_fixture.npz")
WIDTH, DEPTH, HIDDEN, PATCH, GRID = 128, 2, 160, 14, 37  # two heads; patches and positions as published


def tiny_state(
    width: int = WIDTH, depth: int = DEPTH, hidden: int = HIDDEN, patch: int = PATCH, grid: int = GRID
) -> dict[str, torch.Tensor]:
    """Return the weights of a tiny network in the published format, the same on every machine."""
    source = np.random.RandomState(0)

    def draw(*shape: int, centre: float = 0.0, spread: float = 0.3) -> torch.Tensor:
        return torch.from_numpy(centre + spread * source.standard_normal(shape)).float()

    def linear(name: str, *shape: int) -> dict[str, torch.Tensor]:
        weight = draw(*shape, spread=1.5 / np.sqrt(np.prod(shape[1:])))
        return {f"{name}.weight": weight, f"{name}.bias": draw(shape[0])}

    def norm(name: str) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": draw(width, centre=1.0), f"{name}.bias": draw(width)}

    state = {
        "cls_token": draw(1, 1, width),
        "pos_embed": draw(1, 1 + grid**2, width, spread=0.7),
        "mask_token": draw(1, width),
    }
    state |= linear("patch_embed.proj", width, 3, patch, patch)
    for i in range(depth):
        block = f"blocks.{i}"
        state |= norm(f"{block}.norm1")
        state |= linear(f"{block}.attn.qkv", 3 * width, width)
        state |= linear(f"{block}.attn.proj", width, width)
        state |= {f"{block}.ls1.gamma": draw(width, centre=0.5)}
        state |= norm(f"{block}.norm2")
        state |= linear(f"{block}.mlp.fc1", hidden, width)
        state |= linear(f"{block}.mlp.fc2", width, hidden)
        state |= {f"{block}.ls2.gamma": draw(width, centre=0.5)}
    return state | norm("norm")


def pictures() -> dict[str, np.ndarray]:
    """Return byte images ``(N, C, H, W)``: small, grey, and larger than the network's input."""
    source = np.random.RandomState(1)
    shapes = {"small": (3, 3, 20, 13), "grey": (2, 1, 28, 28), "large": (1, 3, 300, 260)}
    return {name: source.randint(256, size=shape).astype(np.uint8) for name, shape in shapes.items()}


def _shown(images: np.ndarray) -> np.ndarray:
    """Return images resized by Pillow, channel by channel in floating point."""
    from PIL import Image

    def resized(channel: np.ndarray) -> np.ndarray:
        return np.asarray(
            Image.fromarray(channel.astype(np.float32)).resize((224, 224), Image.Resampling.BICUBIC)
        )

    rgb = images.repeat(3, axis=1) if images.shape[1] == 1 else images
    x = np.stack([[resized(channel) for channel in image] for image in rgb]).astype(np.float64)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return (x.clip(0, 255) / 255 - mean[:, None, None]) / std[:, None, None]


def _peer() -> torch.nn.Module:
    """Return transformers' network with the same weights, in float64."""
    import transformers

    assert transformers.__version__ == "4.44.2", "later releases interpolate positions otherwise"
    config = transformers.Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=WIDTH // 64, image_size=GRID * PATCH,
        mlp_ratio=HIDDEN / WIDTH, patch_size=PATCH, layer_norm_eps=1e-6,
    )  # fmt: skip
    network = transformers.Dinov2Model(config).eval()
    state = tiny_state()
    theirs = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.mask_token": state["mask_token"],
        "embeddings.position_embeddings": state["pos_embed"],
    }
    for kind in ("weight", "bias"):
        theirs[f"embeddings.patch_embeddings.projection.{kind}"] = state[f"patch_embed.proj.{kind}"]
        theirs[f"layernorm.{kind}"] = state[f"norm.{kind}"]
        for i in range(DEPTH):
            ours, layer = f"blocks.{i}", f"encoder.layer.{i}"
            parts = state[f"{ours}.attn.qkv.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                theirs[f"{layer}.attention.attention.{name}.{kind}"] = part
            theirs[f"{layer}.attention.output.dense.{kind}"] = state[f"{ours}.attn.proj.{kind}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                theirs[f"{layer}.{name}.{kind}"] = state[f"{ours}.{name}.{kind}"]
            for n in (1, 2):
                theirs[f"{layer}.layer_scale{n}.lambda1"] = state[f"{ours}.ls{n}.gamma"]
    network.load_state_dict(theirs)
    return network.double()


@torch.no_grad()
def main() -> None:
    network = _peer()
    features = {
        name: network(torch.from_numpy(_shown(images))).pooler_output.float().numpy()
        for name, images in pictures().items()
    }
    np.savez(FIXTURE, **features)


if __name__ == "__main__":
    main()
