"""DINOv2's Vision Transformer (Oquab et al. 2023), with the preprocessing of Stein et al. (2023).

The modules are named as in the published files, whose weights are loaded as they are.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 224  # of the input images
HEAD = 64  # width of an attention head, the same in all published networks
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue


class Attention(nn.Module):
    """Self-attention among all tokens ``(B, T, width)``, with heads of width 64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, -1, HEAD)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class LayerScale(nn.Module):
    """A learned factor for each channel (Touvron et al. 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


class Block(nn.Module):
    """A transformer block: attention, then a network of one hidden layer, both with residual and norm."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(width, hidden), act=nn.GELU(), fc2=nn.Linear(hidden, width))
        )
        self.ls2 = LayerScale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class VisionTransformer(nn.Module):
    """A network from RGB images to the features of the class token.

    Args:
        width: width of a token, a multiple of 64; it is the number of features.
        depth: number of blocks.
        hidden: width of the blocks' hidden layer.
        patch: side of the square that becomes a token.
        grid: positions were learned for ``grid`` x ``grid`` patches (37 in the published files).
    """

    def __init__(self, width: int, depth: int, hidden: int, patch: int, grid: int) -> None:
        super().__init__()
        self.width, self.depth, self.patch, self.grid = width, depth, patch, grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, stride=patch)})
        self.blocks = nn.Sequential(*(Block(width, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Return the position embeddings of ``rows`` x ``columns`` patches, ``(1, 1 + rows * columns,
        width)``.

        On another grid than the learned one they are interpolated. Against rounding, the
        authors add a tenth of a patch to the size; this changes the features, so it is kept.
        """
        if rows == columns == self.grid:
            return self.pos_embed
        class_position, learned = self.pos_embed.split([1, self.grid**2], dim=1)
        image = learned.mT.unflatten(2, (self.grid, self.grid))
        scale = [(count + 0.1) / self.grid for count in (rows, columns)]
        return torch.cat(
            [class_position, F.interpolate(image, scale_factor=scale, mode="bicubic").flatten(2).mT], dim=1
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features ``(B, width)`` of images ``(B, 3, H, W)`` from :func:`shown`."""
        patches = self.patch_embed["proj"](x)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches.flatten(2).mT], dim=1)
        tokens = self.blocks(tokens + self.positions(*patches.shape[2:]))
        return self.norm(tokens[:, 0])


def shown(pixels: Tensor) -> Tensor:
    """Return byte images ``(B, 1 or 3, H, W)`` as input of the network, ``(B, 3, 224, 224)``.

    They are stretched to the square by bicubic interpolation, with antialiasing where they shrink, and not
    rounded back to bytes; then clipped and standardised by ImageNet's mean and standard deviation. To a
    millionth this is Pillow's resizing in floating point (``--clean_resize`` of Stein et al. 2023); it needs
    float64, since torch's weights in float32 are off by up to 1e-4. Grey becomes three equal colours.
    """
    x = F.interpolate(pixels.double(), size=(SIDE, SIDE), mode="bicubic", antialias=True)
    mean, std = (x.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((x.clamp(0, 255) / 255 - mean) / std).float()


def load(path: Path) -> VisionTransformer:
    """Return the network of a file such as ``dinov2_vitl14_pretrain.pth``, in evaluation mode, on the CPU.

    Raises:
        Exception: of many kinds, if the file is damaged or of another network.
    """
    return build(torch.load(path, map_location="cpu", weights_only=True))


def build(state: Mapping[str, Tensor]) -> VisionTransformer:
    """Return the network with these weights, in evaluation mode; its sizes follow from their shapes.

    Raises:
        KeyError, RuntimeError, ValueError: the weights are of another network, or not finite.
    """
    state = {name: weight.float() for name, weight in state.items() if name != "mask_token"}  # for training
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    hidden, _ = state["blocks.0.mlp.fc1.weight"].shape
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    if width % HEAD or SIDE % patch:
        raise ValueError(f"width {width} is not a multiple of {HEAD}, or {SIDE} not one of {patch}")
    if not all(bool(torch.isfinite(weight).all()) for weight in state.values() if not weight.is_meta):
        raise ValueError("some weights are not finite")
    with torch.device("meta"):  # saves drawing 300 million random numbers that the weights would replace
        network = VisionTransformer(width, depth, hidden, patch, math.isqrt(state["pos_embed"].shape[1] - 1))
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)
