"""What a backbone sees of a picture: resize, centre crop, normalisation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from explorer.errors import ExplorerError
from explorer.images import Picture


class PreprocessingError(ExplorerError):
    """A recipe that cannot be followed; the sentence says which."""


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop and normalise, as the weights were trained for.

    Args:
        resize: length of the short side after resizing, or (height, width) where the picture is squashed.
        crop: (height, width) of the network's input.
        interpolation: a Pillow filter by name, "bilinear" or "bicubic" for nearly every network.
        mean, std: of the three channels, in [0, 1] units.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int]
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def tensor(self, picture: Picture) -> Tensor:
        """The normalised network input (3, H, W), float32."""
        size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
        image = F.resize(picture.image, size, InterpolationMode(self.interpolation))
        image = F.to_tensor(F.center_crop(image, list(self.crop)))
        return F.normalize(image, list(self.mean), list(self.std))

    def colours(self, image: Tensor) -> Tensor:
        """A network input (3, H, W), or several, as it looks: (H, W, 3) uint8."""
        values = image.cpu().movedim(-3, -1) * torch.tensor(self.std) + torch.tensor(self.mean)
        return (values * 255).round().clamp(0, 255).byte()

    def box(self, picture: Picture) -> tuple[float, float, float, float]:
        """Where the crop lies: (left, top, right, bottom) as fractions of the picture's width and height.

        A crop larger than the resized picture (padded by the network's own recipe) reaches beyond 0 and 1.
        """
        if isinstance(self.resize, int):
            short, long = sorted((picture.width, picture.height))
            other = int(self.resize * long / short)
            width, height = (self.resize, other) if picture.width <= picture.height else (other, self.resize)
        else:
            height, width = self.resize
        left, top = (_offset(width, self.crop[1]), _offset(height, self.crop[0]))
        return left / width, top / height, (left + self.crop[1]) / width, (top + self.crop[0]) / height

    @property
    def fill(self) -> tuple[int, int, int]:
        """The colour (0 to 255) of a zero in normalised space: what a masked pixel becomes."""
        red, green, blue = (round(255 * channel) for channel in self.mean)
        return red, green, blue


def from_torchvision(transforms: Any) -> Preprocessing:
    """The preprocessing in torchvision's weight metadata (an ``ImageClassification`` preset)."""
    [resize] = transforms.resize_size
    [crop] = transforms.crop_size
    return Preprocessing(
        resize, (crop, crop), transforms.interpolation.value, tuple(transforms.mean), tuple(transforms.std)
    )


def from_timm(config: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing in timm's weight metadata (``timm.data.resolve_model_data_config``).

    Raises:
        PreprocessingError: a way of cropping that is not built here.
    """
    mode = config.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise PreprocessingError(
            f"This network crops its pictures by {mode!r}, which is not built here: only a centre crop and "
            "squashing are. Choose another backbone."
        )
    _, height, width = config["input_size"]
    scale = [math.floor(side / config["crop_pct"]) for side in (height, width)]
    squash = mode == "squash" or scale[0] != scale[1]
    return Preprocessing(
        (scale[0], scale[1]) if squash else scale[0],
        (height, width),
        config["interpolation"],
        tuple(config["mean"]),
        tuple(config["std"]),
    )


def _offset(length: int, crop: int) -> int:
    """Where torchvision's centre crop begins; negative when it pads."""
    return -((crop - length) // 2) if crop > length else round((length - crop) / 2)
