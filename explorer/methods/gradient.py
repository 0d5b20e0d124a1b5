"""Methods that weight the channels by the gradient of the target's logit."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from explorer.backbones import Cut, Layer
from explorer.declaration import Paper, option
from explorer.methods.base import ANY_MAP, Attribution, Blank, Method, from_signed, register, weighted_sum
from explorer.probe import Probe, upsample

_ONE_MAP = (
    "CAM, Grad-CAM, XGrad-CAM and HiRes-CAM are one map here: the logits are linear in the channel means, so the "
    "gradient is the same at every position."
)
_NO_NOISE = (
    "Grad-CAM++ and Smooth Grad-CAM++ are one map here: the logits are linear in the channel means, so noise in the "
    "picture does not change the gradient."
)
_ROUNDING = 1e-5


@register
@dataclass(frozen=True)
class CAM(Method):
    name = "cam"
    title = "CAM"
    paper = Paper(
        "Learning Deep Features for Discriminative Localization",
        "Zhou, Khosla, Lapedriza, Oliva, Torralba",
        "CVPR",
        2016,
        "https://arxiv.org/abs/1512.04150",
    )
    family = "gradients"
    needs = ("GAP + linear head",)
    good = "Exact where it is defined: the mean of the map and the class bias add up to the logit."
    bad = "Defined only for networks that end in global average pooling and one linear layer."
    on_linear_head = _ONE_MAP

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k w_k A_k) with w_k the weights of the last layer: h w times the constant gradient."""
        gradient = probe.gradient(target)
        return from_signed(weighted_sum(gradient[:, 0, 0] * gradient[0].numel(), probe), probe)


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
    family = "gradients"
    needs = ("gradient",)
    good = "Weights each channel by its mean gradient: fast, robust, and the common yardstick."
    bad = "The mean hides where the gradient changes, so it blurs where the head is not linear."
    on_linear_head = _ONE_MAP

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k w_k A_k) with w_k the spatial mean of the gradient."""
        return from_signed(weighted_sum(probe.gradient(target).mean((1, 2)), probe), probe)


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
    family = "gradients"
    needs = ("gradient",)
    good = "Weights the positions of positive gradient by a closed form, so several objects are covered."
    bad = "Counter-evidence is ignored, so the map often covers more than the class."
    on_linear_head = _NO_NOISE

    official: bool = option(
        False,
        "As the authors' code: each channel's coefficients are divided by their sum over the positions of "
        "positive gradient, and the map by its maximum only.",
        label="as released",
        source="github.com/adityac94/Grad_CAM_plus_plus",
    )

    def coincides(self, cut: Cut) -> str | None:
        return None if self.official else super().coincides(cut)

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k w_k A_k), w_k = sum_ij alpha_kij relu(g_kij), alpha = g^2 / (2 g^2 + (sum A_k) g^3).

        Dividing by g^2 gives alpha = 1 / (2 + (sum A) g), which needs no epsilon where g > 0, the only
        positions that count. The paper's A is never negative; for layers without a ReLU a negative
        channel sum is taken as 0, where its denominator would vanish or change sign.
        """
        positive = probe.gradient(target).relu()
        mass = probe.activation.sum((1, 2), keepdim=True).relu()
        alpha = (positive > 0) / (2 + mass * positive)
        if self.official:
            alpha = alpha / alpha.sum((1, 2), keepdim=True).clamp(min=torch.finfo(alpha.dtype).tiny)
        signed = weighted_sum((alpha * positive).sum((1, 2)), probe)
        found = from_signed(signed, probe)
        if self.official and found.blank is None:
            saliency = upsample(signed.relu()[None], probe.size)[0]
            high = saliency.max()
            return Attribution(saliency / high, signed, extent=torch.stack([torch.zeros_like(high), high]))
        return found


@register
@dataclass(frozen=True)
class SmoothGradCAMPlusPlus(Method):
    name = "smooth-grad-cam++"
    title = "Smooth Grad-CAM++"
    paper = Paper(
        "Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep Convolutional Neural "
        "Network Models",
        "Omeiza, Speakman, Cintas, Weldemariam",
        "IntelliSys",
        2019,
        "https://arxiv.org/abs/1908.01224",
    )
    family = "gradients"
    needs = ("gradient",)
    cost = "1 pass and one for each noisy copy"
    good = "Grad-CAM++ with derivatives averaged over noisy copies of the picture, so that chance edges fade."
    bad = "Costs a pass for each copy, and the noise level is a free choice."
    on_linear_head = _NO_NOISE

    samples: int = option(
        4, "Noisy copies of the picture.", label="noisy copies", source="torch-cam", low=1, high=64
    )
    deviation: float = option(
        0.3,
        "Standard deviation of the noise, in units of the normalised picture.",
        label="noise",
        source="torch-cam",
        low=0.0,
        high=2.0,
    )
    seed: int = option(0, "Of the noise.", label="seed", source="here", low=0, high=9999)

    def passes(self, layer: Layer) -> int:
        return 1 + self.samples

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """Grad-CAM++ with D1, D2, D3, the means of g, g^2 and g^3 over the copies.

        alpha = D2 / (2 D2 + (sum A) D3), with D2 above where the paper prints D1, so that without noise it is
        Grad-CAM++; positions with a denominator that is not positive are left out.
        """
        generator = torch.Generator().manual_seed(self.seed)
        powers = torch.zeros(3, *probe.activation.shape, device=probe.activation.device)
        for _ in range(self.samples):
            noise = torch.randn(probe.image.shape, generator=generator).to(probe.image.device)
            gradient = probe.seeing(probe.image + self.deviation * noise).gradient(target)
            powers += torch.stack([gradient, gradient**2, gradient**3]) / self.samples
        mass = probe.activation.sum((1, 2), keepdim=True).relu()
        below = 2 * powers[1] + mass * powers[2]
        alpha = torch.where(below > 0, powers[1] / below, 0)
        return from_signed(weighted_sum((alpha * powers[0].relu()).sum((1, 2)), probe), probe)


@register
@dataclass(frozen=True)
class XGradCAM(Method):
    name = "xgrad-cam"
    title = "XGrad-CAM"
    paper = Paper(
        "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs",
        "Fu, Hu, Dong, Guo, Gao, Li",
        "BMVC",
        2020,
        "https://arxiv.org/abs/2008.02312",
    )
    family = "gradients"
    needs = ("gradient",)
    good = "Weights the gradient by where each channel is active, which nearly conserves the logit in ReLU networks."
    bad = "Channels whose positive and negative values cancel get wild weights where there is no ReLU."
    on_linear_head = _ONE_MAP

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k w_k A_k), w_k = sum_ij g_k A_k / sum_ij A_k; 0 for a channel that sums to 0."""
        activation = probe.activation
        mass = activation.sum((1, 2))
        pull = (probe.gradient(target) * activation).sum((1, 2))
        return from_signed(weighted_sum(torch.where(mass == 0, 0, pull / mass), probe), probe)


@register
@dataclass(frozen=True)
class HiResCAM(Method):
    name = "hires-cam"
    title = "HiRes-CAM"
    paper = Paper(
        "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
        "Draelos, Carin",
        "arXiv",
        2020,
        "https://arxiv.org/abs/2011.08891",
    )
    family = "gradients"
    needs = ("gradient",)
    good = "Multiplies gradient and activation position by position: exact when one linear layer follows."
    bad = "Elsewhere the gradient's grain shows, and the map can be patchy."
    on_linear_head = _ONE_MAP
    blanks = (*ANY_MAP, Blank.CANCELS)

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k g_k (*) A_k).

        A logit that does not change with the scale of a position (every token of a transformer is normalised before it
        is read) has a gradient at right angles to the activation there: the sum is 0 but for rounding.
        """
        evidence = probe.gradient(target) * probe.activation
        signed = evidence.sum(0)
        if signed.abs().max() <= _ROUNDING * evidence.abs().sum(0).max():
            nothing = from_signed(torch.zeros_like(signed), probe)
            return nothing if not evidence.any() else replace(nothing, blank=Blank.CANCELS)
        return from_signed(signed, probe)


@register
@dataclass(frozen=True)
class LayerCAM(Method):
    name = "layer-cam"
    title = "Layer-CAM"
    paper = Paper(
        "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        "Jiang, Zhang, Hou, Cheng, Wei",
        "IEEE TIP",
        2021,
        "https://doi.org/10.1109/TIP.2021.3089943",
    )
    family = "gradients"
    needs = ("gradient",)
    cost = "1 pass, one more for each further stage that there is"
    good = "Weights each position by its own positive gradient, so early layers give fine detail."
    bad = "Counter-evidence is ignored, and layers before a stride or a pool show a grid."
    on_linear_head = (
        "Layer-CAM is Grad-CAM with the ReLU for each channel here: "
        "the gradient is the same at every position."
    )

    stages: int = option(
        1,
        "Resolutions fused, from the chosen layer towards the input; the earlier ones sharpened by tanh.",
        label="stages fused",
        source="paper, section III-C",
        low=1,
        high=5,
    )

    def passes(self, layer: Layer) -> int:
        return self.stages

    def coincides(self, cut: Cut) -> str | None:
        return super().coincides(cut) if self.stages == 1 else None

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """sum_k relu(g_k) (*) A_k; of several stages the pixel-wise maximum of M / max M, tanh(2 M / max M) before
        the last."""
        signed = _positive_gradients(probe, target)
        found = from_signed(signed, probe)
        if self.stages == 1:
            return found
        tiny = torch.finfo(signed.dtype).tiny
        fused = upsample(signed.relu()[None] / signed.max().clamp(min=tiny), probe.size)[0]
        for layer in _earlier_stages(probe.cut, self.stages - 1):
            earlier = _positive_gradients(probe.at(layer.name), target).relu()
            if earlier.max() > 0:
                sharp = torch.tanh(2 * earlier / earlier.max())
                fused = torch.maximum(fused, upsample(sharp[None], probe.size)[0])
        found = from_signed(fused, probe)
        return Attribution(found.saliency, signed, found.blank)


def _positive_gradients(probe: Probe, target: int) -> Tensor:
    return torch.einsum("khw,khw->hw", probe.gradient(target).relu(), probe.activation)


def _earlier_stages(cut: Cut, count: int) -> list[Layer]:
    """The last layer of each finer resolution before the cut, the nearest first."""
    before = cut.backbone.layers[: cut.backbone.layers.index(cut.layer)]
    stages: dict[int, Layer] = {}
    for layer in reversed(before):
        if layer.height > max([cut.layer.height, *stages]):
            stages[layer.height] = layer
    return list(stages.values())[:count]


@register
@dataclass(frozen=True)
class FinerCAM(Method):
    name = "finer-cam"
    title = "Finer-CAM"
    paper = Paper(
        "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation",
        "Zhang, Gu, Li, Zhang, Wang, Chao",
        "CVPR",
        2025,
        "https://arxiv.org/abs/2501.11309",
    )
    family = "gradients"
    needs = ("gradient",)
    good = "Explains what tells the class from the most similar ones, where plain Grad-CAM shows what they share."
    bad = (
        "The answer depends on which classes are compared, and may be blank where the classes do not differ."
    )

    others: int = option(
        3, "Similar classes compared.", label="similar classes", source="paper", low=1, high=20
    )
    strength: float = option(
        0.6,
        "How much of the similar classes is taken away.",
        label="strength",
        source="paper",
        low=0.0,
        high=2.0,
    )

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """Grad-CAM of y_c - strength * mean_d y_d over the classes d whose logits are nearest to that of c."""
        distance = (probe.logits - probe.logits[target]).abs()
        distance[target] = torch.inf
        nearest = distance.topk(min(self.others, len(distance) - 1), largest=False).indices
        slopes = torch.zeros_like(distance)
        slopes[target] = 1
        slopes[nearest] = -self.strength / max(1, len(nearest))
        labels = ", ".join(probe.cut.backbone.labels[index] for index in nearest.tolist())
        signed = weighted_sum(probe.gradient(slopes).mean((1, 2)), probe)
        return from_signed(signed, probe, (f"Compared with {labels or 'no other class: there is none'}.",))
