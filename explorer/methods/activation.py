"""Methods that look at the activation alone, whatever class is asked."""

from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.declaration import Paper, option
from explorer.methods.base import Attribution, Method, from_signed, register
from explorer.probe import Probe


@register
@dataclass(frozen=True)
class EigenCAM(Method):
    name = "eigen-cam"
    title = "Eigen-CAM"
    paper = Paper(
        "Eigen-CAM: Class Activation Map using Principal Components",
        "Muhammad, Yeasin",
        "IJCNN",
        2020,
        "https://arxiv.org/abs/2008.00299",
    )
    family = "activations"
    good = "Shows the strongest pattern of the layer without any gradient: steady even for wrong predictions."
    bad = "It is the same map for every class, so it cannot say why this one."

    centred: bool = option(
        False,
        "Each channel's mean is taken away first, so the map shows contrast; its sign is then a matter of choice.",
        label="centred",
        source="pytorch-grad-cam",
    )

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(A v) with A (h w, K) and v its first right singular vector; the sign that gives the largest value.

        u s = A v from the smaller of the two Gram matrices: no full decomposition.
        """
        # Apple's MPS has no double precision.
        exact = torch.float32 if probe.image.device.type == "mps" else torch.float64
        rows = probe.activation.flatten(1).T.to(exact)
        if self.centred:
            rows = rows - rows.mean(0)
        if not torch.isfinite(rows).all():
            return from_signed(probe.activation.sum(0), probe)
        if len(rows) <= rows.shape[1]:
            values, vectors = torch.linalg.eigh(rows @ rows.T)
            projection = vectors[:, -1] * values[-1].clamp(min=0).sqrt()
        else:
            projection = rows @ torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -1]
        if projection.min().abs() > projection.max().abs():
            projection = -projection
        return from_signed(projection.view(probe.activation.shape[1:]).float(), probe)
