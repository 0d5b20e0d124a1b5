"""Whether the map lies on the object, where boxes or a mask say where that is."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.declaration import Paper, option, stated
from explorer.metrics.base import Metric, register
from explorer.metrics.examined import Examined, Objects
from explorer.metrics.masked import OPTI_CAM


@dataclass(frozen=True)
class _Localisation(Metric):
    kind = "localisation"
    better = "higher"
    needs_objects = True
    cost = "none"

    def value(self, shown: Examined, scores: Tensor) -> float:
        if shown.objects is None or not shown.objects.region.any():
            return math.nan
        return self.located(shown.saliency, shown.objects)

    def located(self, saliency: Tensor, objects: Objects) -> float:
        """The metric of a map (H, W)."""
        raise NotImplementedError

    @classmethod
    def definition(cls) -> str:
        return stated(cls.located)


@register
@dataclass(frozen=True)
class EnergyPointingGame(_Localisation):
    name = "energy-pointing-game"
    title = "Energy-based pointing game"
    symbol = "EPG"
    paper = Paper(
        "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
        "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu",
        "CVPR Workshops",
        2020,
        "https://arxiv.org/abs/1910.01279",
    )
    good = "The share of the map's energy that lies on the object."
    bad = "A network may rightly look beside the object; large objects make it easy."

    def located(self, saliency: Tensor, objects: Objects) -> float:
        """Sum of the map in the region / sum of the map; 0 for a blank map"""
        values = saliency.double()
        total = float(values.sum())
        return float(values[objects.region].sum()) / total if total > 0 else 0.0


@register
@dataclass(frozen=True)
class PointingGame(_Localisation):
    name = "pointing-game"
    title = "Pointing game"
    symbol = "PG"
    paper = Paper(
        "Top-down Neural Attention by Excitation Backprop",
        "Zhang, Lin, Brandt, Shen, Sclaroff",
        "ECCV",
        2016,
        "https://arxiv.org/abs/1608.00507",
    )
    good = "Whether the highest value lies on the object: robust to the shape of the map."
    bad = "One pixel decides."

    margin: int = option(
        15,
        "How far from the object, in pixels of the network's input, still counts.",
        label="margin",
        source="the paper's code",
        low=0,
        high=100,
    )

    def located(self, saliency: Tensor, objects: Objects) -> float:
        """1 if the highest value, the first of equal ones, is at most the margin away from the region; 0 for a blank
        map"""
        if not saliency.any():
            return 0.0
        row, column = divmod(int(saliency.argmax()), saliency.shape[1])
        rows, columns = objects.region.nonzero(as_tuple=True)
        return float(bool((((rows - row) ** 2 + (columns - column) ** 2) <= self.margin**2).any()))


@register
@dataclass(frozen=True)
class BoxIoU(_Localisation):
    name = "box-iou"
    title = "Box IoU"
    symbol = "IoU"
    paper = OPTI_CAM
    good = "How well a box around the map's largest part fits the object."
    bad = "Depends on the threshold, which is the map's mean."

    def located(self, saliency: Tensor, objects: Objects) -> float:
        """Intersection over union of the box around the largest connected part (8 neighbours) above the mean with
        the box of an object that fits it best; NaN where no box is known"""
        import cv2  # late: its threads would keep freed memory apart

        if not objects.boxes:
            return math.nan
        values = saliency.double()  # in which the mean of a constant map is its value
        parts = (values > values.mean()).cpu().numpy().astype(np.uint8)
        count, _, statistics, _ = cv2.connectedComponentsWithStats(parts, connectivity=8)
        if count < 2:
            return 0.0
        left, top, width, height, _ = statistics[1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())].tolist()
        found = (left, top, left + width, top + height)
        return max(_overlap(found, box) for box in objects.boxes)


@register
@dataclass(frozen=True)
class BestIoU(_Localisation):
    name = "best-iou"
    title = "Best-threshold IoU"
    symbol = "bIoU"
    paper = Paper(
        "Evaluating Weakly Supervised Object Localization Methods Right",
        "Choe, Oh, Lee, Chun, Akata, Shim",
        "CVPR",
        2020,
        "https://arxiv.org/abs/2001.07437",
    )
    good = "How well the map fits the object at the threshold that is best for this picture."
    bad = "The threshold is chosen by the answer: an upper bound."

    def located(self, saliency: Tensor, objects: Objects) -> float:
        """The largest intersection over union of {S >= t}, t > 0, with the region: of pixels and for each picture,
        where the paper compares boxes at one threshold for a whole data set"""
        values, order = saliency.flatten().sort(descending=True, stable=True)
        inside = objects.region.to(saliency.device).flatten()[order].double().cumsum(0)
        count = torch.arange(1, len(values) + 1, device=values.device)
        iou = inside / (count + objects.region.sum().to(values.device) - inside)
        # Equal values are taken together, and a blank part is no threshold.
        last = torch.ones_like(values, dtype=torch.bool)
        last[:-1] = values[:-1] != values[1:]
        usable = last & (values > 0)
        return float(iou[usable].max()) if usable.any() else 0.0


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)
