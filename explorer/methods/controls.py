"""Maps that look at no network: what a figure must beat before it means anything."""

from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.declaration import Paper, option
from explorer.methods.base import Attribution, Method, from_signed, register
from explorer.probe import Probe

_POPPI = Paper(
    "Revisiting the Evaluation of Class Activation Mapping for Explainability: A Novel Metric and Experimental "
    "Analysis",
    "Poppi, Cornia, Baraldi, Cucchiara",
    "CVPR Workshops",
    2021,
    "https://arxiv.org/abs/2104.10252",
)
_SANITY = Paper(
    "Sanity Checks for Saliency Maps",
    "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim",
    "NeurIPS",
    2018,
    "https://arxiv.org/abs/1810.03292",
)
_CENTRE = Paper(
    "The Central Fixation Bias in Scene Viewing",
    "Tatler",
    "Journal of Vision",
    2007,
    "https://doi.org/10.1167/7.14.4",
)


@register
@dataclass(frozen=True)
class FakeCAM(Method):
    name = "fake-cam"
    title = "Fake-CAM"
    paper = _POPPI
    family = "controls"
    blanks = ()
    good = "Keeps the whole picture but one pixel: nearly perfect by average drop, so it unmasks that figure."
    bad = "Says nothing of where the network looked."

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """1 everywhere, 0 in the top left pixel."""
        saliency = torch.ones(probe.size, device=probe.image.device)
        saliency[0, 0] = 0
        return Attribution(saliency, saliency)


@register
@dataclass(frozen=True)
class Random(Method):
    name = "random"
    title = "Random"
    paper = _SANITY
    family = "controls"
    blanks = ()
    good = "Chance, at the grain of the layer: a method that does no better has found nothing."
    bad = "Says nothing of where the network looked."

    seed: int = option(0, "Of the random values.", label="seed", source="here", low=0, high=9999)

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """Independent uniform values, one for each position of the layer."""
        generator = torch.Generator().manual_seed(self.seed)
        values = torch.rand(probe.activation.shape[1:], generator=generator)
        return from_signed(values.to(probe.image.device), probe, units=False)


@register
@dataclass(frozen=True)
class CentreGaussian(Method):
    name = "centre-gaussian"
    title = "Centre Gaussian"
    paper = _CENTRE
    family = "controls"
    blanks = ()
    good = "Photographers put the object in the middle: a method that does no better may only know that."
    bad = "Says nothing of where the network looked."

    width: float = option(
        0.25,
        "Standard deviation, as a fraction of the side.",
        label="width",
        source="here",
        low=0.05,
        high=1.0,
    )

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """exp(-(x^2 + y^2) / (2 width^2)), x and y from the centre in fractions of the side."""
        down, across = (
            ((torch.arange(side, device=probe.image.device) + 0.5) / side - 0.5) ** 2 for side in probe.size
        )
        bell = torch.exp(-(down[:, None] + across) / (2 * self.width**2))
        return from_signed(bell, probe, units=False)


@register
@dataclass(frozen=True)
class Constant(Method):
    name = "constant"
    title = "Constant"
    paper = _POPPI
    family = "controls"
    blanks = ()
    good = "Keeps the whole picture: the zero of every figure that compares with the picture itself."
    bad = "Says nothing of where the network looked."

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """1 everywhere."""
        saliency = torch.ones(probe.size, device=probe.image.device)
        return Attribution(saliency, saliency)
