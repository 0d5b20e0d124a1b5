"""From a picture and a request to an explanation: the same numbers for the page, the shell and Python."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.backbones import DEFAULT_BACKBONE, Backbone, Cut, Layer, load
from explorer.calibration import PAPER_LEVELS, Calibration, calibrate, check_levels
from explorer.compute.cache import LRU
from explorer.compute.device import best_device
from explorer.errors import ExplorerError
from explorer.images import Picture
from explorer.library import (
    BUILT_IN,
    ON_THE_FLY,
    Library,
    Rule,
    Selection,
    Subject,
    find_library,
    from_picture,
    open_or_build,
    select,
    touch,
)
from explorer.methods import METHODS, Attribution, Method, UndefinedMethodError, find
from explorer.methods.libra import LibraAttribution, LibraCAM, LibraEvidence
from explorer.metrics import (
    Canvas,
    Examined,
    Explain,
    Kept,
    Metric,
    Objects,
    Perturbation,
    Randomisation,
    Steps,
    gather,
    rank_correlation,
)
from explorer.probe import Precision, Probe


class Progress(Protocol):
    """Who is told how the work goes; either call may raise to stop it."""

    def begin(self, stage: str, total: int = 0) -> None: ...

    def advance(self, steps: int) -> None: ...


class Silent:
    """Progress that nobody watches."""

    def begin(self, stage: str, total: int = 0) -> None:
        pass

    def advance(self, steps: int) -> None:
        pass


@dataclass(frozen=True)
class Request:
    """What is to be explained, all but the picture. Equal requests give equal explanations.

    Args:
        backbone: registered name; ``layer``: name of a cut point, None for the default.
        method: with its options.
        target: class index; None for the predicted class.
        library, rule, seed: where references come from, for the methods that need them.
        levels: of the calibration, in percent of the area removed.
        precision: of the masked scores.
    """

    backbone: str = DEFAULT_BACKBONE
    layer: str | None = None
    method: Method = field(default_factory=find("grad-cam"))
    target: int | None = None
    library: str = BUILT_IN
    rule: Rule = "random"
    seed: int = 0
    levels: tuple[int, ...] = PAPER_LEVELS
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_levels(self.levels)


def all_references(request: Request) -> Request:
    """The same Libra-CAM request with the whole library."""
    assert isinstance(request.method, LibraCAM)
    return replace(request, method=replace(request.method, size=100_000))


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says of a picture: ``probabilities`` (C,) and ``labels``, one for each class.

    ``box`` is the part that it sees, as fractions of the picture (left, top, right, bottom).
    """

    probabilities: Tensor
    labels: tuple[str, ...]
    box: tuple[float, float, float, float]

    def top(self, count: int = 5) -> list[int]:
        """The most probable classes, the first first."""
        return self.probabilities.topk(min(count, len(self.probabilities))).indices.tolist()


@dataclass(frozen=True, eq=False)
class ReferencesUsed:
    """The references of an explanation, in the order of the selection.

    ``gains`` (n,) and ``kept`` (n,) belong to ``indices`` (n,) of the library; ``available`` counts all that
    could be used, ``qualified`` those that meet the selection rule; ``measured`` counts those whose gain is
    known, so that a library of that size costs no pass.
    """

    library: Library
    indices: Tensor
    gains: Tensor
    kept: Tensor
    available: int
    qualified: int
    fallback: bool
    measured: int


@dataclass(frozen=True, eq=False)
class Explanation:
    """A map with all that is needed to draw it, to judge it and to make it again.

    ``name`` and ``digest`` (sha256 of the file) identify the picture, ``weights`` (sha256) the backbone's.
    ``box`` is the network's crop as fractions of the picture (left, top, right, bottom), ``fill`` the colour
    of a masked pixel. ``calibration`` is None while it is still being measured, or for a blank map.
    ``passes`` counts the forward passes that it takes from nothing, ``seconds`` what it took this time.
    """

    name: str
    digest: str
    request: Request
    weights: str
    layer: Layer
    box: tuple[float, float, float, float]
    fill: tuple[int, int, int]
    target: int
    label: str
    probability: float
    attribution: Attribution
    calibration: Calibration | None
    references: ReferencesUsed | None
    passes: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Figures:
    """What metrics say of one map, ``plain`` and ``calibrated`` at the cut of its calibration, by ``str(metric)``.

    ``digest`` identifies the picture. A blank map, for the reason that ``blank`` gives, is measured as one that
    keeps nothing. ``curves`` holds the plain map's probabilities at each step of the metrics that go by steps.
    """

    digest: str
    request: Request
    target: int
    probability: float
    predicted: int
    blank: str | None
    calibration: Calibration
    plain: dict[str, float]
    calibrated: dict[str, float]
    curves: dict[str, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class Stage:
    """The map (H, W) of a network that is random after a layer, and Spearman's correlation with the network's own."""

    layer: str
    saliency: Tensor
    correlation: float


class Engine:
    """Holds what is dear to make: loaded backbones, opened libraries, probes, masked scores of references.

    Calls are served one at a time; the caches are bounded.
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = torch.device(device) if device else best_device()
        self._lock = threading.RLock()
        self._own: dict[str, Backbone] = {}
        self._backbones: LRU[str, Backbone] = LRU(3)
        self._libraries: LRU[tuple[str, str], Library] = LRU(8)
        self._probes: LRU[tuple[str, str, str], Probe] = LRU(4)
        self._evidence: LRU[tuple[object, ...], LibraEvidence] = LRU(16)

    def backbone(self, name: str, progress: Progress | None = None) -> Backbone:
        """The backbone, loaded once."""
        progress = progress or Silent()
        with self._lock:
            backbone = self._own.get(name) or self._backbones.get(name)
            if backbone is None:
                progress.begin(f"Loading {name}")
                backbone = self._backbones.put(name, load(name, self.device, _downloads(name, progress)))
            return backbone

    def undefined(
        self,
        backbone: str,
        layer: str | None = None,
        methods: Sequence[Method] | None = None,
        progress: Progress | None = None,
    ) -> dict[str, str]:
        """By name, why methods are not defined at a layer; of all methods, unless some are named."""
        with self._lock:
            cut = self.backbone(backbone, progress).cut(layer)
            asked = [method() for method in METHODS.values()] if methods is None else methods
            reasons = {method.name: method.undefined(cut) for method in asked}
            return {name: reason for name, reason in reasons.items() if reason is not None}

    def add(self, backbone: Backbone) -> None:
        """Makes a backbone of the caller's own known by its name, in place of a registered one of that name."""
        with self._lock:
            self._own[backbone.name] = backbone

    def predict(self, picture: Picture, backbone: str, progress: Progress | None = None) -> Prediction:
        """The class probabilities of a picture."""
        with self._lock:
            loaded = self.backbone(backbone, progress)
            probe = self._probe(picture, loaded.cut(), "float32")
            return Prediction(probe.probabilities.cpu(), loaded.labels, loaded.preprocessing.box(picture))

    def library(self, cut: Cut, name: str, progress: Progress | None = None) -> Library:
        """The library, opened once, and built first if it is the built-in one and missing."""
        progress = progress or Silent()
        with self._lock:
            key = (cut.fingerprint, name)
            library, info = self._libraries.get(key), find_library(cut, name)
            # A library that was mended has the same content, and another date.
            if (
                library is None
                or info is None
                or (library.info, library.info.created) != (info, info.created)
            ):
                steps = _Steps(progress, f"Building the {name} library")
                library = self._libraries.put(key, open_or_build(cut, name, steps))
            else:
                touch(info)
            return library

    def _on_the_fly(self, picture: Picture, cut: Cut, progress: Progress) -> Library:
        key = (cut.fingerprint, f"{ON_THE_FLY} {picture.digest}")
        steps = _Steps(progress, "Making references of the picture")
        return self._libraries.get(key) or self._libraries.put(key, from_picture(cut, picture, steps))

    def explain(
        self,
        picture: Picture,
        request: Request,
        progress: Progress | None = None,
        deliver: Callable[[Explanation], None] | None = None,
    ) -> Explanation:
        """Explains a picture.

        Args:
            deliver: given the explanation without its calibration as soon as the map is there.

        Raises:
            ExplorerError: any refusal, in one sentence.
        """
        progress = progress or Silent()
        with self._lock:
            started = time.perf_counter()
            made = self._attribute(picture, request, progress)
            probe, attribution = made.probe, made.attribution
            backbone = probe.cut.backbone

            def explanation(calibration: Calibration | None) -> Explanation:
                return Explanation(
                    picture.name,
                    picture.digest,
                    request,
                    backbone.digest,
                    probe.cut.layer,
                    backbone.preprocessing.box(picture),
                    backbone.preprocessing.fill,
                    made.target,
                    backbone.labels[made.target],
                    float(probe.probabilities[made.target]),
                    attribution.cpu(),
                    calibration,
                    made.references,
                    probe.passes - made.before + made.reused,
                    time.perf_counter() - started,
                )

            if attribution.blank is not None:
                return explanation(None)
            if deliver is not None:
                deliver(explanation(None))
            method = request.method
            official = _calibrates_officially(method)
            progress.begin(f"Calibrating {method.title}", len(request.levels))
            return explanation(
                calibrate(probe, attribution.saliency, made.target, request.levels, official=official)
            )

    def figures(
        self,
        picture: Picture,
        requests: Sequence[Request],
        metrics: Sequence[Metric],
        objects: Objects | None = None,
        progress: Progress | None = None,
    ) -> list[Figures]:
        """What metrics say of the maps of one picture, each plain and at the cut that its calibration by the paper's
        ten levels recommends; in the order of the requests, which ask for one backbone and layer.

        The maps share what they can: the trunk's pass, masked pictures, full batches. Probabilities are in float32
        whatever the precision of the maps.

        Args:
            objects: where the target is, for the metrics of localisation.

        Raises:
            ExplorerError: any refusal, in one sentence.
        """
        progress = progress or Silent()
        with self._lock:
            made = [self._attribute(picture, request, progress) for request in requests]
            probe = self._probe(picture, made[0].probe.cut, "float32")
            probe.tick = progress.advance
            canvas = Canvas(probe)
            plain = [
                Examined(
                    canvas,
                    one.target,
                    one.attribution.saliency,
                    one.explain,
                    objects,
                    official=_calibrates_officially(request.method),
                )
                for one, request in zip(made, requests, strict=True)
            ]
            progress.begin("Calibrating", len(plain) * len(PAPER_LEVELS))
            gather([(shown, [Kept(level) for level in PAPER_LEVELS]) for shown in plain])
            curves = [shown.calibration() for shown in plain]
            cut = [shown.calibrated(curve.cut) for shown, curve in zip(plain, curves, strict=True)]
            pixels, predicted = probe.image[0].numel(), int(probe.logits.argmax())
            asked = [(shown, metric.perturbations(pixels)) for shown in (*plain, *cut) for metric in metrics]
            progress.begin("Measuring", sum(len(several) for _, several in asked))
            gather(asked)
            found = []
            for request, one, curve, *both in zip(requests, made, curves, plain, cut, strict=True):
                progress.begin(f"Measuring {request.method.title}")
                plain_values, cut_values = (
                    {str(metric): metric(shown) for metric in metrics} for shown in both
                )
                steps = {
                    str(metric): tuple(both[0].scores(metric.perturbations(pixels)).tolist())
                    for metric in metrics
                    if isinstance(metric, Steps)
                }
                found.append(
                    Figures(
                        picture.digest,
                        request,
                        one.target,
                        both[0].probability,
                        predicted,
                        one.attribution.blank,
                        curve,
                        plain_values,
                        cut_values,
                        steps,
                    )
                )
            return found

    def randomised(
        self, picture: Picture, request: Request, metric: Randomisation, progress: Progress | None = None
    ) -> list[Stage]:
        """The maps of networks of which more and more is random; see ``Randomisation``."""
        progress = progress or Silent()
        with self._lock:
            made = self._attribute(picture, request, progress)
            saliency = made.attribution.saliency
            shown = Examined(Canvas(made.probe), made.target, saliency, made.explain)
            found = []
            for layer, other in metric.maps(shown):
                progress.begin(f"Randomising {request.method.title} after {layer}")
                found.append(Stage(layer, other.cpu(), rank_correlation(shown.saliency, other)))
            return found

    def perturbed(
        self,
        picture: Picture,
        explanation: Explanation,
        perturbation: Perturbation,
        progress: Progress | None = None,
    ) -> NDArray[np.uint8]:
        """What a metric shows the network of a picture: (H, W, 3)."""
        with self._lock:
            request = explanation.request
            cut = self.backbone(request.backbone, progress).cut(request.layer)
            canvas = Canvas(self._probe(picture, cut, "float32"))
            saliency = explanation.attribution.saliency
            shown = Examined(canvas, explanation.target, saliency, lambda probe: saliency)
            [image] = perturbation.pictures([perturbation], shown)
            return cut.backbone.preprocessing.colours(image).numpy()

    def _attribute(self, picture: Picture, request: Request, progress: Progress) -> "_Made":
        backbone = self.backbone(request.backbone, progress)
        cut = backbone.cut(request.layer)
        probe = self._probe(picture, cut, request.precision)
        before = probe.passes - 1
        target = int(probe.logits.argmax()) if request.target is None else request.target
        if not 0 <= target < len(backbone.labels):
            raise ExplorerError(
                f"{request.backbone} has no class {target}: its classes are 0 to {len(backbone.labels) - 1}."
            )
        probe.tick = progress.advance
        method = request.method
        if (reason := method.undefined(cut)) is not None:
            raise UndefinedMethodError(reason)
        progress.begin(method.title, method.passes(cut.layer) - 1)
        attribution: Attribution
        references: ReferencesUsed | None = None
        activations: Tensor | None = None
        reused = 0
        if isinstance(method, LibraCAM):
            attribution, references, reused = self._libra(picture, request, probe, target, progress)
            activations = references.library.activations(references.indices)
        else:
            if method.needs_references():
                library, selection = self._select(picture, request, probe, target, progress)
                activations = library.activations(selection.indices)
            attribution = method(probe, target, activations)
        if (note := method.coincides(cut)) is not None:
            attribution = replace(attribution, notes=(*attribution.notes, note))

        def explain(other: Probe) -> Tensor:
            other = other.in_precision(request.precision)
            given = activations
            # A library of one network says nothing to another.
            if other.cut.fingerprint != cut.fingerprint and method.needs_references():
                made = self._on_the_fly(picture, other.cut, progress)
                given = made.activations(torch.arange(len(made)))
            return method(other, target, given).saliency

        return _Made(probe, target, attribution, explain, references, reused, before)

    def _probe(self, picture: Picture, cut: Cut, precision: Precision) -> Probe:
        key = (picture.digest, cut.fingerprint, precision)
        probe = self._probes.get(key)
        if probe is None:
            image = cut.backbone.preprocessing.tensor(picture)
            probe = Probe(cut, image, precision=precision)
            self._probes.put(key, probe)
        return probe

    def measure(self, picture: Picture, request: Request, progress: Progress | None = None) -> int:
        """Measures the references of a Libra-CAM request; returns how many are measured by now.

        With ``all_references`` of a request, its library size can then change at no cost.
        """
        progress = progress or Silent()
        with self._lock:
            probe = self._probe(
                picture, self.backbone(request.backbone, progress).cut(request.layer), request.precision
            )
            probe.tick = progress.advance
            target = int(probe.logits.argmax()) if request.target is None else request.target
            return len(self._gather(picture, request, probe, target, progress).evidence)

    def _libra(
        self, picture: Picture, request: Request, probe: Probe, target: int, progress: Progress
    ) -> tuple[LibraAttribution, ReferencesUsed, int]:
        method = request.method
        assert isinstance(method, LibraCAM)
        gathered = self._gather(picture, request, probe, target, progress)
        attribution = method.combine(gathered.evidence, probe)
        selection = gathered.selection
        used = ReferencesUsed(
            gathered.library,
            selection.indices[: method.size],
            attribution.gains.cpu(),
            attribution.kept.cpu(),
            len(selection.indices),
            selection.qualified,
            selection.fallback,
            len(gathered.evidence),
        )
        return attribution, used, gathered.reused

    def _select(
        self, picture: Picture, request: Request, probe: Probe, target: int, progress: Progress
    ) -> tuple[Library, Selection]:
        if request.library == ON_THE_FLY:
            library = self._on_the_fly(picture, probe.cut, progress)
        else:
            library = self.library(probe.cut, request.library, progress)
        preprocessing = probe.cut.backbone.preprocessing
        subject = Subject.seen(picture.digest, probe.image, probe.activation, preprocessing)
        selection = select(library, target, rule=request.rule, seed=request.seed, subject=subject)
        if not len(selection.indices):
            raise ExplorerError(
                f"The library {request.library!r} holds no picture of another class than "
                f"{probe.cut.backbone.labels[target]!r}: choose or build another library."
            )
        return library, selection

    def _gather(
        self, picture: Picture, request: Request, probe: Probe, target: int, progress: Progress
    ) -> "_Gathered":
        """The evidence of at least the references asked for, measured in whole batches and kept."""
        method = request.method
        assert isinstance(method, LibraCAM)
        library, selection = self._select(picture, request, probe, target, progress)
        available = len(selection.indices)
        key = (
            *(picture.digest, probe.cut.fingerprint, target, request.precision, method.official),
            *(library.info.fingerprint, request.rule, request.seed),
        )
        evidence = self._evidence.get(key)
        known = len(evidence) if evidence is not None else 0
        wanted = min(available, math.ceil(method.size / probe.batch) * probe.batch)
        reused = min(known, wanted)
        progress.begin(f"{method.title}: measuring references", wanted - reused)
        while evidence is None or len(evidence) < wanted:
            chosen = selection.indices[known : known + probe.batch]
            more = method.evidence(probe, target, library.activations(chosen))
            evidence = self._evidence.put(key, more if evidence is None else evidence.extended(more))
            known = len(evidence)
        return _Gathered(library, selection, evidence, reused)


@dataclass(frozen=True, eq=False)
class _Made:
    """A map, and what it takes to make it again; ``before`` counts the probe's passes that were made before it."""

    probe: Probe
    target: int
    attribution: Attribution
    explain: Explain
    references: ReferencesUsed | None
    reused: int
    before: int


@dataclass(frozen=True, eq=False)
class _Gathered:
    library: Library
    selection: Selection
    evidence: LibraEvidence
    reused: int


def _calibrates_officially(method: Method) -> bool:
    return isinstance(method, LibraCAM) and method.official


class _Steps:
    """Absolute progress (done, total) turned into steps of a named stage."""

    def __init__(self, progress: Progress, stage: str) -> None:
        self._progress, self._stage, self._done = progress, stage, 0

    def __call__(self, done: int, total: int) -> None:
        if not self._done:
            self._progress.begin(self._stage, total)
        self._progress.advance(done - self._done)
        self._done = done


def _downloads(name: str, progress: Progress) -> Callable[[int, int], None]:
    return _Steps(progress, f"Downloading the weights of {name}")
