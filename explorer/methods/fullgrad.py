"""FullGrad: the logit taken apart into what the input and what each bias of the network adds to it."""

from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, fx, nn

from explorer.backbones import Cut, Layer
from explorer.declaration import Paper, option
from explorer.methods.base import Attribution, Method, from_signed, register
from explorer.probe import Probe, upsample


@register
@dataclass(frozen=True)
class FullGrad(Method):
    name = "fullgrad"
    title = "FullGrad"
    paper = Paper(
        "Full-Gradient Representation for Neural Network Visualization",
        "Srinivas, Fleuret",
        "NeurIPS",
        2019,
        "https://arxiv.org/abs/1905.00780",
    )
    family = "gradients"
    needs = ("gradient", "convolutional network")
    cost = "2 passes, one of them back to the input"
    good = (
        "Adds up what the input and every bias contribute: in ReLU networks nothing of the logit is left out."
    )
    bad = "Signs are dropped and every layer counts alike, so edges stand out; the chosen layer makes no difference."

    official: bool = option(
        False,
        "As the authors' code: up-sampling that aligns the corners, and 1e-6 added to each layer's range.",
        label="as released",
        source="github.com/idiap/fullgrad-saliency",
    )

    def passes(self, layer: Layer) -> int:
        return 2

    def undefined(self, cut: Cut) -> str | None:
        if any(layer.layout == "tokens" for layer in cut.backbone.layers):
            return (
                "FullGrad is defined only for convolutional networks, whose biases act at places of the picture and "
                "not on tokens, one of which stands for all of them: "
                f"not at {cut.layer.name} of {cut.backbone.name}. Choose a ResNet, VGG or EfficientNet."
            )
        return None

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """psi(x (*) g_x) + sum_l psi(b_l (*) g_l) (H, W), over the layers whose biases act at places."""
        network = _Biases(probe.cut.backbone.graph)
        image = probe.image.detach().clone().requires_grad_()
        logit = probe.interpreted(network.run, image)[target]
        gradient, *slopes = torch.autograd.grad(logit, [image, *network.outputs])
        parts = [bias * slope for bias, slope in zip(network.biases, slopes, strict=True)]
        of_input = image.detach() * gradient
        places = [part[0] for part in parts if part.dim() == 4]  # a linear layer's bias adds to no place
        total = torch.stack([self._psi(part, probe) for part in (of_input, *places)]).sum(0)
        note = _completeness(
            float(logit.detach()), float(of_input.sum()), sum(float(part.sum()) for part in parts)
        )
        return from_signed(total, probe, (note,), units=False)

    def _psi(self, part: Tensor, probe: Probe) -> Tensor:
        """|part| (C, h, w) scaled to [0, 1] over all channels together, summed over them and up-sampled (H, W)."""
        low, high = part.abs().aminmax()
        span = high - low + 1e-6 if self.official else (high - low).clamp(min=torch.finfo(part.dtype).tiny)
        summed = ((part.abs() - low) / span).sum(0)
        return upsample(summed[None], probe.size, align_corners=self.official)[0]


class _Biases(fx.Interpreter):
    """Runs the network, and keeps the outputs of the convolutions, batch normalisations and linear layers that add
    a bias, and those biases in a shape to multiply them.

    A batch normalisation adds b - mean w / sqrt(var + eps), which is what it makes of zero.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.outputs: list[Tensor] = []
        self.biases: list[Tensor] = []

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        if isinstance(module, nn.BatchNorm2d):
            [image] = args
            scaled = nn.BatchNorm2d.forward(module, image)
            self._keep(scaled, nn.BatchNorm2d.forward(module, torch.zeros_like(image[:, :, :1, :1])))
            return module.act(module.drop(scaled)) if isinstance(module, BatchNormAct2d) else scaled
        value = module(*args, **kwargs)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            self._keep(value, module.bias[:, None, None] if isinstance(module, nn.Conv2d) else module.bias)
        return value

    def _keep(self, output: Tensor, bias: Tensor) -> None:
        self.outputs.append(output)
        self.biases.append(bias.detach())


def _completeness(logit: float, of_input: float, of_biases: float) -> str:
    """Whether the parts add up to the logit, to 1e-4 of the largest of them."""
    total = of_input + of_biases
    told = f"{total:.4g} of the logit {logit:.4g} (input {of_input:.4g}, biases {of_biases:.4g})"
    if abs(total - logit) <= 1e-4 * max(abs(logit), abs(of_input), abs(of_biases)):
        return f"Complete: the parts add up to {told}."
    return (
        f"Incomplete: the parts add up to {told}. The rest comes of what is no ReLU network: activations with an "
        "intercept (ReLU6, GELU) or a normalisation by the picture itself."
    )
