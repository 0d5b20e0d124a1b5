"""Sig-CAM: the smallest smooth part of the picture whose blurring takes the class away."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from explorer.backbones import Layer
from explorer.declaration import Paper, option
from explorer.methods.base import Attribution, Method, from_signed, register
from explorer.probe import Probe, normalise, upsample

_AREA, _ROUGHNESS = 1.0, 20.0
_LONGEST, _SHORTEN, _FLOOR, _ARMIJO = 200.0, 0.2, 1e-5, 1e-4
_TRIALS = 12  # of step lengths, from the longest until one is below the floor


@register
@dataclass(frozen=True)
class SigCAM(Method):
    name = "sig-cam"
    title = "Sig-CAM"
    paper = Paper(
        "A Novel Visual Interpretability for Deep Neural Networks by Optimizing Activation Maps with "
        "Perturbation",
        "Zhang, Rao, Yang",
        "AAAI",
        2021,
        "https://doi.org/10.1609/aaai.v35i4.16450",
    )
    family = "optimisation"
    needs = ("gradient",)
    cost = "2 passes, and for each iteration 20 forward and back and at most 12 more"
    good = "Finds a small part of the picture without which the class is lost: made for the deletion figures."
    bad = "Slow, and what it takes to lose the class need not keep it: figures that keep the map punish it."

    iterations: int = option(
        15,
        "Steps of the search.",
        label="iterations",
        source="released code of Libra-CAM",
        low=1,
        high=50,
        quick=10,
    )
    points: int = option(
        20,
        "Pictures on the way to the blurred one, over which the gradient is averaged.",
        label="points",
        source="released code of Libra-CAM",
        low=1,
        high=100,
        quick=5,
    )
    seed: int = option(
        0, "Of the noise on the blurred pictures.", label="seed", source="here", low=0, high=9999
    )
    official: bool = option(
        False,
        "As the copy in the code of Libra-CAM: noise doubled, and in the first colour only; up-sampling that "
        "aligns the corners.",
        label="as released",
        source="github.com/sanglee/Libra-CAM",
    )

    def passes(self, layer: Layer) -> int:
        """At most so many: most steps need fewer trials of their length."""
        return 2 + self.iterations * (self.points + _TRIALS)

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """1 - n(up(m)), m (h, w) in [0, 1] the mask (1 keeps) that minimises area |1 - m| + roughness TV(m) + p_c.

        p_c is that of the picture blurred where m is low; its gradient is averaged over noisy pictures on the way to
        the wholly blurred one (I-GOS). The search begins with the significance map
        B = sum_k relu(w_k A_k), w_k = mean(g_k A_k). Its scale is not in any released code: here m = 1 - n(B), so
        that the most significant position is wholly blurred and the least is kept.
        """
        pull = (probe.gradient(target) * probe.activation).mean((1, 2))
        mask = 1 - normalise((pull[:, None, None] * probe.activation).relu().sum(0))
        side = min(51, 2 * min(probe.size) - 1)
        blurred = gaussian_blur(probe.image, [side, side], [50.0, 50.0])
        generator = torch.Generator().manual_seed(self.seed)
        area = _AREA

        def probability(mask: Tensor) -> float:
            picture = blurred + (probe.image - blurred) * self._raised(mask, probe.size)
            return probe.differentiable_logits(picture[None]).softmax(1)[0, target].item()

        first = present = probability(mask)
        for iteration in range(self.iterations):
            slope = self._slope(mask, blurred, generator, probe, target)
            with torch.enable_grad():
                leaf = mask.clone().requires_grad_()
                [own] = torch.autograd.grad(_regulariser(leaf, area), leaf)
            slope = slope + own
            before = _regulariser(mask, area).item() + present
            enough = _ARMIJO * slope.square().sum().item()
            length = _LONGEST
            while True:
                moved = (mask - length * slope).clamp(0, 1)
                now = probability(moved)
                if length < _FLOOR or not _regulariser(moved, area).item() + now > before - length * enough:
                    break
                length *= _SHORTEN
            if self.iterations > 3 and iteration == self.iterations // 2 and abs(first - present) <= 1e-3:
                area /= 10
            elif (
                self.iterations > 3
                and iteration == int(self.iterations / 1.25)
                and abs(first - present) <= 1e-2
            ):
                area /= 5
            mask, present = moved, now
        note = (
            f"{self.iterations} iterations: the probability of the class is {float(probe.probabilities[target]):.1%} "
            f"on the picture and {present:.1%} with the map blurred away."
        )
        found = from_signed(1 - self._raised(mask, probe.size), probe, (note,), rectified=False)
        return replace(found, signed=1 - mask)

    def _slope(
        self, mask: Tensor, blurred: Tensor, generator: torch.Generator, probe: Probe, target: int
    ) -> Tensor:
        """The gradient (h, w) of p_c by the mask, averaged over 1 / n, 2 / n to n / n of the mask, with noise."""
        deviation = mask.new_tensor([0.4, 0.0, 0.0] if self.official else [0.2, 0.2, 0.2])[:, None, None]
        noise = torch.randn(self.points, *probe.image.shape, generator=generator)
        fractions = torch.arange(1, self.points + 1)[:, None, None, None] / self.points
        total = torch.zeros_like(mask)
        for some, share in zip(noise.split(probe.batch), fractions.split(probe.batch), strict=True):
            with torch.enable_grad():
                leaf = mask.clone().requires_grad_()
                raised = share.to(mask) * self._raised(leaf, probe.size)
                pictures = blurred + (probe.image - blurred) * raised + deviation * some.to(mask)
                chance = probe.differentiable_logits(pictures).softmax(1)[:, target].sum() / self.points
                total += torch.autograd.grad(chance, leaf)[0]
        return total

    def _raised(self, mask: Tensor, size: tuple[int, int]) -> Tensor:
        """(h, w) up-sampled to (H, W)."""
        return upsample(mask[None], size, align_corners=self.official)[0]


def _regulariser(mask: Tensor, area: float) -> Tensor:
    """Area times mean |1 - m|, plus the mean squared differences between neighbours, down and across."""
    rough = mask.diff(dim=0).square().mean() + mask.diff(dim=1).square().mean()
    return area * (1 - mask).abs().mean() + _ROUGHNESS * rough
