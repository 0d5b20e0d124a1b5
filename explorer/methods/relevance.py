"""Methods that propagate relevance with contrast to the other classes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from explorer.backbones import Cut, Layer
from explorer.declaration import Paper, option
from explorer.methods.base import ANY_MAP, Attribution, Blank, Method, from_signed, register, weighted_sum
from explorer.methods.lift import without_rule
from explorer.probe import Probe, normalise, upsample
from explorer.propagation import (
    FACTORISATION,
    Z_PLUS,
    Z_PLUS_BIASED,
    Rules,
    factorised,
    interpret,
    propagate,
    unruled,
)


@register
@dataclass(frozen=True)
class RelevanceCAM(Method):
    name = "relevance-cam"
    title = "Relevance-CAM"
    paper = Paper(
        "Relevance-CAM: Your Model Already Knows Where to Look",
        "Lee, Kim, Park, Yun",
        "CVPR",
        2021,
        "https://openaccess.thecvf.com/content/CVPR2021/html/"
        "Lee_Relevance-CAM_Your_Model_Already_Knows_Where_To_Look_CVPR_2021_paper.html",
    )
    family = "relevance"
    needs = ("gradient", "a rule for every operation on the way")
    good = "Works at early layers, whose maps are sharper, where gradients are too noisy to weight channels."
    bad = "Negative weights are ignored on the way, and the lowest value counts as zero, so background may light up."

    official: bool = option(
        False,
        "As the authors' code: the bias of a convolution enters both partial sums, and the map is scaled before it is "
        "up-sampled.",
        label="as released",
        source="github.com/mongeoroo/Relevance-CAM",
    )

    def undefined(self, cut: Cut) -> str | None:
        return without_rule(type(self), cut, Z_PLUS)

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """sum_k r_k A_k, r_k the spatial mean of the relevance R_k, without a ReLU.

        The relevance of the logits is 1 for the class and -1/C for the C - 1 others. What arrives where an operation
        has no positive product is lost, as it often is in depthwise convolutions.
        """

        def seed(logits: Tensor) -> Tensor:
            relevance = torch.full_like(logits, -1 / logits.shape[1])
            relevance[:, target] = 1
            return relevance

        rules = Z_PLUS_BIASED if self.official else Z_PLUS
        _, relevance = propagate(probe.cut, probe.raw, rules, seed)
        weights = probe.cut.layer.to_maps(relevance)[0].mean((1, 2))
        found = from_signed(weighted_sum(weights, probe), probe, rectified=False)
        if self.official and found.blank is None:
            return Attribution(upsample(normalise(found.signed[None]), probe.size)[0], found.signed)
        return found


@register
@dataclass(frozen=True)
class AGF(Method):
    name = "agf"
    title = "AGF"
    paper = Paper(
        "Visualization of Supervised and Self-Supervised Neural Networks via Attribution Guided Factorization",
        "Gur, Ali, Wolf",
        "AAAI",
        2021,
        "https://arxiv.org/abs/2012.02166",
    )
    family = "relevance"
    needs = ("gradient", "a rule for every operation on the way")
    cost = "3 passes, and several times backward through every convolution larger than 1 x 1"
    good = "Follows the attribution down to the pixels, and so draws the object rather than a region."
    bad = "Follows edges that the class does not need, and the chosen layer makes no difference."
    blanks = (*ANY_MAP, Blank.SATURATED)

    def passes(self, layer: Layer) -> int:
        return 3

    def undefined(self, cut: Cut) -> str | None:
        operation = unruled(cut.backbone.graph, cut.backbone.noise, FACTORISATION)
        if operation is None:
            return None
        return (
            f"AGF goes back to the picture, and has no rule for the operation {operation} on the way, so it is not "
            f"defined: not at {cut.layer.name} of {cut.backbone.name}. Choose a ResNet, VGG or EfficientNet-Lite, "
            "or Grad-CAM."
        )

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """The attribution of the picture (H, W) that is left when it is factorised layer by layer from the logits down
        to the pixels, summed over the three colours, without a ReLU."""

        def run(image: Tensor, rules: Rules) -> Tensor:
            backbone = probe.cut.backbone
            place = f"which is a part of {backbone.name}. Choose a plain convolutional network"
            return probe.interpreted(lambda images: interpret(backbone.graph, images, rules, place), image)

        attribution = factorised(run, probe.image, target).sum(0)
        found = from_signed(attribution, probe, rectified=False, units=False)
        flat = probe.activation.any() and not attribution.any()
        return replace(found, blank=Blank.SATURATED) if flat else found
