"""Methods that weight the channels by the gradient of the target's logit."""

from dataclasses import dataclass

from torch import Tensor

from explorer.methods.base import Attribution, Method, Paper, from_signed, register
from explorer.probe import Probe


@register
@dataclass(frozen=True)
class GradCAM(Method):
    name = "grad-cam"
    title = "Grad-CAM"
    paper = Paper(
        "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
        "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra",
        "ICCV",
        2017,
        "https://arxiv.org/abs/1610.02391",
    )
    summary = (
        "Weights each channel by its mean gradient. Fast and robust; blurs where the head is not linear."
    )

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k w_k A_k) with w_k the spatial mean of the gradient."""
        weights = probe.gradient(target).mean((1, 2))
        return from_signed(probe.activation.movedim(0, -1) @ weights, probe)


@register
@dataclass(frozen=True)
class GradCAMPlusPlus(Method):
    name = "grad-cam++"
    title = "Grad-CAM++"
    paper = Paper(
        "Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep Convolutional Networks",
        "Chattopadhay, Sarkar, Howlader, Balasubramanian",
        "WACV",
        2018,
        "https://arxiv.org/abs/1710.11063",
    )
    summary = (
        "Weights positions of positive gradient by a closed form. Covers several objects; ignores "
        "counter-evidence."
    )

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k w_k A_k), w_k = sum_ij alpha_kij relu(g_kij), alpha = g^2 / (2 g^2 + (sum A_k) g^3).

        Dividing by g^2 gives alpha = 1 / (2 + (sum A) g), which needs no epsilon where g > 0, the only
        positions that count. The paper's A is never negative; for layers without a ReLU a negative
        channel sum is taken as 0, where its denominator would vanish or change sign.
        """
        positive = probe.gradient(target).relu()
        mass = probe.activation.sum((1, 2), keepdim=True).relu()
        weights = (positive / (2 + mass * positive)).sum((1, 2))
        return from_signed(probe.activation.movedim(0, -1) @ weights, probe)
