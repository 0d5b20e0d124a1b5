"""What a network makes of pictures: the records of a library."""

from collections.abc import Sequence

import torch
from torch import Tensor

from explorer.backbones import Cut
from explorer.images import Picture
from explorer.library.shard import Shard, thumbnails
from explorer.library.sources import Source

_HIGHEST = 65504.0  # of the half precision in which activations are stored


@torch.inference_mode()
def records(cuts: Sequence[Cut], read: Sequence[tuple[Source, Picture]]) -> list[Shard]:
    """What the network makes of pictures at each of several layers; one forward pass for all of them.

    Args:
        read: at most as many sources, with their pictures, as the backbone is best given at once.
    """
    backbone = cuts[0].backbone
    images = [backbone.preprocessing.tensor(picture) for _, picture in read]
    # A batch is always full, for a picture's activation is to be the same to the last bit whatever stands beside it.
    full = torch.stack(images + images[-1:] * (backbone.batch - len(images)))
    *raws, logits = backbone.tapped(tuple(cut.layer for cut in cuts))(
        full.to(backbone.device).contiguous(memory_format=torch.channels_last)
    )
    probabilities = logits[: len(read)].softmax(1).cpu()
    labels = [_label(source, row) for (source, _), row in zip(read, probabilities, strict=True)]
    seen = thumbnails(full[: len(read)], backbone.preprocessing)
    return [
        Shard(
            tuple(source.identifier for source, _ in read),
            tuple(picture.digest for _, picture in read),
            cut.layer.to_maps(raw)[: len(read)].clamp(-_HIGHEST, _HIGHEST).half().cpu(),
            probabilities,
            torch.tensor(labels),
            seen,
        )
        for cut, raw in zip(cuts, raws, strict=True)
    ]


def _label(source: Source, probabilities: Tensor) -> int:
    if not source.labels:
        return int(probabilities.argmax())
    return max(source.labels, key=lambda label: float(probabilities[label]))
