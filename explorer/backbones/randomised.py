"""A classifier that has forgotten: its weights drawn anew from the output down to a layer."""

import copy
from functools import lru_cache

import torch

from explorer.backbones.backbone import Backbone, Cut


@lru_cache(maxsize=2)
def randomised(after: Cut, seed: int = 0) -> Backbone:
    """The backbone with the weights after a cut shuffled within each of their tensors, so that their scale stays
    (cascading randomisation of Adebayo et al., NeurIPS 2018, by permutation).

    Biases and the parameters of normalisations stay. Its layers are those of the backbone, in the same order. At most
    two such copies are kept.
    """
    same = after.backbone
    names = {name for name, _ in after.head.named_parameters()}
    model = copy.deepcopy(same.graph)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name in names and values.dim() > 1:
                order = torch.randperm(values.numel(), generator=generator).to(values.device)
                values.copy_(values.flatten()[order].view_as(values))
    return Backbone(
        f"{same.name}, random after {after.layer.name} ({seed})",
        model,
        same.preprocessing,
        same.labels,
        same.device,
    )


def same_layer(cut: Cut, backbone: Backbone) -> Cut:
    """The cut of a randomised backbone at the layer of this cut."""
    return backbone.cut(backbone.layers[cut.backbone.layers.index(cut.layer)].name)
