"""A frozen classifier with everything needed to explain it."""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import torch
from torch import Tensor, fx, nn

from explorer.backbones import weights
from explorer.backbones.cut import Layer, UntraceableError, find_layers, split, tapped, trace
from explorer.backbones.narrow import LastLayer, last_layer
from explorer.backbones.preprocessing import Preprocessing
from explorer.errors import ExplorerError


class UnknownLayerError(ExplorerError):
    """A layer name that is no cut point of this backbone; the sentence lists near ones."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A backbone cut at one layer: ``head(trunk(image)) == backbone(image)``.

    ``trunk`` maps images (N, 3, H, W) to the raw activation, ``head`` maps that to logits (N, C).
    ``fingerprint`` (hex) changes with the weights, the layer or the preprocessing.
    """

    backbone: "Backbone"
    layer: Layer
    trunk: fx.GraphModule
    head: fx.GraphModule
    fingerprint: str

    @cached_property
    def pooled_linear(self) -> bool:
        """Whether the logits are linear in the spatial means of the maps (global average pooling and one linear
        layer): whether their gradient is the same at every position and at two different activations."""
        with torch.no_grad():
            raw = self.trunk(self.backbone.noise())
        generator = torch.Generator().manual_seed(0)
        other = torch.randn(raw.shape, generator=generator).to(raw) * raw.std()
        slopes = torch.randn(len(self.backbone.labels), generator=generator).to(raw)
        with torch.enable_grad():
            both = torch.cat([raw, other]).detach().requires_grad_()
            logits = self.head(both)
            [gradient] = torch.autograd.grad((logits * slopes[: logits.shape[1]]).sum(), both)
        if self.layer.prefix and gradient[:, : self.layer.prefix].any():
            return False
        maps = self.layer.to_maps(gradient)
        first = maps[:1, :, :1, :1]
        return bool((maps - first).abs().max() <= 1e-4 * maps.abs().max())

    @cached_property
    def last_layer(self) -> LastLayer | None:
        """The head's last layer, which can be narrowed to one class; None where the classes are not kept apart."""
        found = last_layer(self.head)
        return found if found is not None and found.classes == len(self.backbone.labels) else None

    def logits(self, raw: Tensor, target: int | None = None) -> Tensor:
        """Logits (N, C) of raw activations, or (N, 1) of one class, for which the last layer is narrowed."""
        if target is None:
            return self.head(raw)
        last = self.last_layer
        if last is None:
            return self.head(raw)[:, target : target + 1]
        return last.logits(last.before(raw), slice(target, target + 1))


class Speed:
    """How long a forward pass takes: ``pace`` is the median of the last ones in seconds, None while there was none."""

    def __init__(self) -> None:
        self.pace: float | None = None
        self._last: deque[float] = deque(maxlen=256)
        self._under_way: deque[tuple[int, torch.cuda.Event, torch.cuda.Event]] = deque(maxlen=256)

    @contextmanager
    def of(self, passes: int, device: torch.device) -> Iterator[None]:
        """Times passes that are made together inside; of a GPU by its own events, so that nothing waits for it."""
        if device.type != "cuda":
            started = time.perf_counter()
            yield
            self.add(passes, time.perf_counter() - started)
            return
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(device)
        begin.record(stream)
        yield
        end.record(stream)
        self._under_way.append((passes, begin, end))
        while self._under_way and self._under_way[0][-1].query():
            made, begin, end = self._under_way.popleft()
            self.add(made, begin.elapsed_time(end) / 1000)

    def add(self, passes: int, seconds: float) -> None:
        """Counts passes that were made together."""
        self._last.extend([seconds / passes] * passes)
        self.pace = median(self._last)


def layer_called(layers: Sequence[Layer], name: str | None) -> Layer:
    """The layer of this name or alias, the deepest one unless there is one."""
    return next((layer for layer in reversed(layers) if name in (layer.name, *layer.aliases)), layers[-1])


class Backbone:
    """A classifier in eval mode, frozen, traced, and shared by all threads without a lock.

    ``batch`` is how many pictures are best given to it at once, ``speed`` what probes have measured.

    Args:
        name: as in the registry.
        model: maps (N, 3, H, W) to logits (N, C); taken over, its parameters are frozen.
        preprocessing: what the weights were trained for.
        labels: a name for each class.

    Raises:
        UntraceableError: torch.fx cannot trace the model.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        preprocessing: Preprocessing,
        labels: tuple[str, ...],
        device: torch.device | str = "cpu",
    ) -> None:
        self.name = name
        self.preprocessing = preprocessing
        self.labels = labels
        self.digest = weights.digest(model)
        self._architecture = repr(model)
        model = model.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self.device = torch.device(device)
        # On a CPU small batches stay in its caches: a picture costs half of what it costs in batches of 16.
        self.batch = 4 if self.device.type == "cpu" else 64
        self.speed = Speed()
        self._traced = trace(model, name)
        self._nodes = find_layers(self._traced, self.noise())
        if not self._nodes:
            raise UntraceableError(
                f"The logits of {name} depend on no layer with spatial extent, so no map can be drawn. "
                "Choose another backbone."
            )
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self._cuts: dict[Layer, Cut] = {}
        self._tapped: dict[tuple[Layer, ...], fx.GraphModule] = {}
        self._lock = threading.Lock()

    def noise(self) -> Tensor:
        """A fixed input (1, 3, H, W) of standard normal noise."""
        size = self.preprocessing.crop
        return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(self.device)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, C) of normalised images (N, 3, H, W)."""
        network = self._traced if self._compiled is None or torch.is_grad_enabled() else self._compiled
        logits: Tensor = network(images)
        return logits

    def compile(self) -> None:
        """Makes all passes of whole pictures without gradients faster; logits differ in the sixth digit.

        Raises:
            CompileError: it is not possible on this machine.
        """
        from explorer.backbones.compiled import Compiled  # which imports the compiler, for seconds

        with self._lock:
            self._compiled = self._compiled or Compiled(self._traced, self.noise(), self.batch, self.name)

    @property
    def compiled(self) -> bool:
        return self._compiled is not None

    @property
    def nbytes(self) -> int:
        """What its weights take."""
        return sum(values.nbytes for values in self._traced.state_dict().values())

    @property
    def graph(self) -> fx.GraphModule:
        """The whole network, traced: images (N, 3, H, W) to logits (N, C)."""
        return self._traced

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The cut points with a spatial map, from the input to the logits; the last one is the default."""
        return tuple(self._nodes)

    @property
    def default_layer(self) -> Layer:
        """The end of the feature extractor."""
        return self.layers[-1]

    def layer(self, name: str | None = None) -> Layer:
        """The layer of this name or alias, the default layer for None."""
        if name is None:
            return self.default_layer
        for layer in reversed(self.layers):
            if name == layer.name or name in layer.aliases:
                return layer
        last = ", ".join(layer.name for layer in self.layers[-4:])
        raise UnknownLayerError(
            f"{self.name} has no cut point {name[:80]!r}: it has {len(self.layers)}, the last of them {last}."
        )

    def cut(self, layer: str | None = None) -> Cut:
        """The backbone cut at a layer (by name or alias, the default layer for None)."""
        found = self.layer(layer)
        with self._lock:
            if found not in self._cuts:
                trunk, head = split(self._traced, self._nodes[found])
                text = f"{self.digest} {self._architecture} {found.name} {self.preprocessing!r}"
                fingerprint = hashlib.sha256(text.encode()).hexdigest()
                self._cuts[found] = Cut(self, found, trunk, head, fingerprint)
            return self._cuts[found]

    def tapped(self, layers: tuple[Layer, ...]) -> fx.GraphModule:
        """The network, which gives the raw activations at these layers and then the logits, in one pass."""
        with self._lock:
            if layers not in self._tapped:
                self._tapped[layers] = tapped(self._traced, [self._nodes[layer] for layer in layers])
            return self._tapped[layers]
