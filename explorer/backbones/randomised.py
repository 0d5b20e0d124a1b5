"""A classifier that has forgotten: its weights shuffled from the output down to a layer."""

import copy
from functools import lru_cache

import torch

from explorer.backbones.backbone import Backbone, Cut


@lru_cache(maxsize=4)
def randomised(after: Cut, seed: int = 0) -> Backbone:
    """The backbone with the weights after a cut shuffled within each of their tensors, so that their scale stays
    (cascading randomisation of Adebayo et al., NeurIPS 2018, by permutation).

    Biases and the parameters of normalisations stay. What stays is shared with the backbone, and its layers are the
    same in the same order. At most four such networks are kept.
    """
    same = after.backbone
    later = {name for name, _ in after.head.named_parameters()}
    shuffled = {
        name: values for name, values in same.graph.named_parameters() if name in later and values.dim() > 1
    }
    kept = [
        values
        for name, values in (*same.graph.named_parameters(), *same.graph.named_buffers())
        if name not in shuffled
    ]
    model = copy.deepcopy(same.graph, {id(values): values for values in kept})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name in shuffled:
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
