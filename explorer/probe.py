"""One picture seen by one backbone at one layer: the only door to the network."""

import copy
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.backbones import Cut

Precision = Literal["float32", "bfloat16"]

# Activations that the head is given at once, in numbers: a large last layer is then read seldom.
_HEAD_NUMBERS = 2**22


class Probe:
    """The activation, gradients and masked scores of one picture.

    Nothing is hooked and no parameter receives a gradient, so any number of probes may share a backbone
    between threads. A probe itself belongs to one thread at a time.

    Args:
        cut: the backbone cut at a layer.
        image: the normalised input (3, H, W).
        batch: masked pictures per forward pass, by default what suits the backbone's device; halved when
            memory runs out.
        precision: of the masked scores. In ``"bfloat16"`` probabilities move by up to 0.1 and another cut may be
            recommended, so it is never the default.
        tick: called with the number of forward passes just made, between chunks; may raise to cancel.
    """

    def __init__(
        self,
        cut: Cut,
        image: Tensor,
        *,
        batch: int | None = None,
        precision: Precision = "float32",
        tick: Callable[[int], None] | None = None,
    ) -> None:
        self.cut = cut
        self.image = image.to(cut.backbone.device)
        self.batch = batch or cut.backbone.batch
        self.precision = precision
        self.tick = tick
        self.passes = 0
        self._gradients: dict[int, Tensor] = {}
        with torch.no_grad():
            self._image = channels_last(self.image)
            raw = cut.trunk(self._image[None])
        self._last = cut.last_layer
        with torch.enable_grad():
            self._raw = raw.detach().requires_grad_()
            self._hidden: Tensor = self._last.before(self._raw) if self._last else cut.head(self._raw)
        with torch.no_grad():
            self.logits = (self._last.logits(self._hidden) if self._last else self._hidden.detach())[0]
        self._count(1)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the network's input, in which every saliency map is given."""
        height, width = self.image.shape[-2:]
        return height, width

    @property
    def raw(self) -> Tensor:
        """(1, ...), the activation as the network stores it."""
        return self._raw.detach()

    @property
    def activation(self) -> Tensor:
        """(K, h, w), the channels of the layer; class and register tokens left out."""
        return self.cut.layer.to_maps(self.raw)[0]

    @property
    def probabilities(self) -> Tensor:
        """(C,), the softmax of the logits."""
        return self.logits.softmax(0)

    def gradient(self, target: int | Tensor) -> Tensor:
        """(K, h, w), the derivative of the target's logit by the activation. Costs the head only.

        Args:
            target: a class index, or a weight for each logit (C,).
        """
        if isinstance(target, int):
            if target not in self._gradients:
                self._gradients[target] = self._gradient(slice(target, target + 1))
            return self._gradients[target]
        classes = target.nonzero()[:, 0]
        return self._gradient(classes, target[classes])

    def _gradient(self, classes: slice | Tensor, weights: Tensor | None = None) -> Tensor:
        with torch.enable_grad():
            [logits] = self._last.logits(self._hidden, classes) if self._last else self._hidden[:, classes]
            score = logits.sum() if weights is None else logits @ weights
        [gradient] = torch.autograd.grad(score, self._raw, retain_graph=True)
        return self.cut.layer.to_maps(gradient)[0]

    @torch.inference_mode()
    def head(self, activations: Callable[[slice], Tensor], count: int, target: int | None = None) -> Tensor:
        """Logits (M, C) of ``count`` activations put in the place of the picture's. Costs the head only.

        Args:
            activations: given a slice of 0..count, the activations (m, K, h, w); so they need not exist at once.
            target: only the logits (M,) of this class, for which the last layer need not be evaluated whole.
        """

        def logits(chosen: slice) -> Tensor:
            self._count(0)
            return self.cut.logits(self.cut.layer.from_maps(activations(chosen), self.raw), target)

        batch = max(self.batch, _HEAD_NUMBERS // self._raw.numel())
        found, _ = self._in_chunks(logits, count, batch, len(self.logits) if target is None else 1)
        return found if target is None else found[:, 0]

    @torch.inference_mode()
    def drops(self, target: int) -> Tensor:
        """By how much the target's logit falls (K,) when each channel in turn is set to zero. Costs the head only.

        The logit of the whole activation is evaluated beside the others, else rounding would not cancel.
        """
        if self._last is not None:
            found = self._last.drops(self.raw, target)
            if found is not None:
                return found
        activation = self.activation
        channels = torch.arange(len(activation), device=activation.device)
        live = channels[activation.flatten(1).any(1)]
        removed = torch.cat([channels[:1] - 1, live])

        def ablated(chosen: slice) -> Tensor:
            return activation * (channels != removed[chosen, None])[:, :, None, None]

        logits = self.head(ablated, len(removed), target)
        drops = torch.zeros_like(logits[:1]).repeat(len(activation))
        drops[live] = logits[0] - logits[1:]
        return drops

    def scores(self, masks: Tensor, target: int) -> Tensor:
        """Probabilities (M,) of the target on the picture under each mask.

        The mask multiplies the normalised picture, so that a removed pixel takes the mean colour.

        Args:
            masks: (M, h, w) in [0, 1]; up-sampled bilinearly where smaller than the input.
        """
        return self.masked_logits(lambda chosen: masks[chosen], len(masks)).softmax(1)[:, target]

    def masked_logits(self, masks: Callable[[slice], Tensor], count: int) -> Tensor:
        """Logits (M, C) of the picture under each of ``count`` masks.

        Args:
            masks: given a slice of 0..count, the masks (m, h, w); up-sampled where smaller than the input.
        """

        def masked(chosen: slice) -> Tensor:
            return self._image * upsample(masks(chosen).to(self.image.device), self.size)[:, None]

        return self.logits_of(masked, count)

    @torch.inference_mode()
    def logits_of(self, images: Callable[[slice], Tensor], count: int) -> Tensor:
        """Logits (M, C) of ``count`` other pictures.

        Args:
            images: given a slice of 0..count, the normalised pictures (m, 3, H, W); so they need not exist at once.
        """

        def logits(chosen: slice) -> Tensor:
            found = self._logits_in_precision(images(chosen).contiguous(memory_format=torch.channels_last))
            self._count(len(found))
            return found

        found, self.batch = self._in_chunks(logits, count, self.batch, len(self.logits))
        return found

    def differentiable_logits(self, images: Tensor) -> Tensor:
        """Logits (M, C) of other pictures (M, 3, H, W), through which gradients flow to them."""
        with torch.enable_grad():
            logits: Tensor = self.cut.backbone(images)
        self._count(len(images))
        return logits

    def interpreted(self, run: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
        """Logits (C,) of a picture (3, H, W), by another way to run the backbone's graph that may keep what it sees."""
        with torch.enable_grad():
            logits = run(image[None])[0]
        self._count(1)
        return logits

    def at(self, layer: str) -> "Probe":
        """The same picture at another layer."""
        return self._beside(self.cut.backbone.cut(layer), self.image)

    def seeing(self, image: Tensor) -> "Probe":
        """Another picture (3, H, W) at the same layer."""
        return self._beside(self.cut, image)

    def in_precision(self, precision: Precision) -> "Probe":
        """The same probe with masked scores in another precision."""
        other = copy.copy(self)
        other.precision = precision
        return other

    def _beside(self, cut: Cut, image: Tensor) -> "Probe":
        probe = Probe(cut, image, batch=self.batch, precision=self.precision, tick=self.tick)
        self.passes += probe.passes
        return probe

    def _in_chunks(
        self, logits: Callable[[slice], Tensor], count: int, batch: int, classes: int
    ) -> tuple[Tensor, int]:
        """Logits (M, C) in batches, halved when memory runs out, and the batch that fitted.

        Their memory is taken at once: a small piece after each batch would break up the heap.
        """
        found = self.logits.new_empty(count, classes)
        done = 0
        while done < count:
            chosen = slice(done, min(done + batch, count))
            try:
                found[chosen] = logits(chosen)
            except RuntimeError as error:
                if batch == 1 or not _out_of_memory(error):
                    raise
                batch //= 2
                continue
            done = chosen.stop
        return found, batch

    def _logits_in_precision(self, images: Tensor) -> Tensor:
        backbone, quick = self.cut.backbone, self.precision == "bfloat16"
        with (
            backbone.speed.of(len(images), images.device),
            torch.autocast(images.device.type, torch.bfloat16, enabled=quick),
        ):
            logits: Tensor = backbone(images)
        return logits.float()

    def _count(self, passes: int) -> None:
        self.passes += passes
        if self.tick is not None:
            self.tick(passes)


def channels_last(image: Tensor) -> Tensor:
    """The same picture (3, H, W), its channels together in memory."""
    return image[None].contiguous(memory_format=torch.channels_last)[0]


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def upsample(maps: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """(M, h, w) to (M, H, W), bilinear, pixel centres aligned as cv2.resize does; some released codes align corners."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=align_corners)[:, 0]


def normalise(maps: Tensor) -> Tensor:
    """Each map (..., h, w) to [0, 1] by its minimum and maximum; a constant or non-finite map to zeros."""
    low, high = maps.flatten(-2).aminmax(dim=-1)
    span = high - low
    usable = torch.isfinite(span) & (span > 0)
    scaled = (maps - low[..., None, None]) / span[..., None, None]
    return scaled if usable.all() else scaled.where(usable[..., None, None], 0)
