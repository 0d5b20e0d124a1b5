"""From a picture and a request to an explanation: the same numbers for the page, the shell and Python."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.backbones import DEFAULT_BACKBONE, Backbone, Cut, Layer, Speed, layer_called, load
from explorer.calibration import (
    PAPER_LEVELS,
    By,
    Calibration,
    Curve,
    calibrate,
    check_levels,
    curve,
    cut_map,
)
from explorer.compute.cache import LRU, nbytes
from explorer.compute.device import best_device
from explorer.errors import ExplorerError
from explorer.images import Picture
from explorer.library import (
    BUILT_IN,
    ON_THE_FLY,
    UNLIKELY,
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
from explorer.methods import METHODS, Attribution, Blank, Method, find
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
    passes_of,
    rank_correlation,
)
from explorer.probe import Precision, Probe

T = TypeVar("T")


class UnknownClassError(ExplorerError):
    """A class that a backbone does not know, or of which it knows several."""


class Progress(Protocol):
    """Who is told how the work goes; either call may raise to stop it."""

    def begin(self, stage: str, total: int = 0) -> None: ...

    def advance(self, steps: int) -> None: ...

    def passed(self, passes: int) -> None:
        """Forward passes were made, each a step."""
        self.advance(passes)


class Silent(Progress):
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
        target: class index, or a class by its name; None for the predicted class.
        library, rule, seed, limit: where references come from, for the methods that need them; see ``select``.
        levels: of the calibration, in percent of the area removed.
        precision: of the masked scores.
        pinned: ids of records of the library that come first, and that Libra-CAM keeps whatever their gain.
        excluded: ids of records that are never used, pinned or not. Ids that the library cannot give as references
            are passed over.
    """

    backbone: str = DEFAULT_BACKBONE
    layer: str | None = None
    method: Method = field(default_factory=find("grad-cam"))
    target: int | str | None = None
    library: str = BUILT_IN
    rule: Rule = "random"
    seed: int = 0
    limit: float = UNLIKELY
    levels: tuple[int, ...] = PAPER_LEVELS
    precision: Precision = "float32"
    pinned: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_levels(self.levels)
        if not 0 <= self.limit <= 1:
            raise ExplorerError(
                f"The limit of the target probability of references is {self.limit}: give one from 0 to 1."
            )


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

    ``gains`` (n,) and ``kept`` (n,) belong to ``indices`` (n,) of the library, the first ``pinned`` of which are kept
    whatever their gain; ``available`` counts all that could be used, ``qualified`` those that meet the selection rule;
    ``measured`` counts those whose gain is known, so that a library of that size costs no pass.
    """

    library: Library
    indices: Tensor
    gains: Tensor
    kept: Tensor
    pinned: int
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
    blank: Blank | None
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


@dataclass(frozen=True, eq=False)
class Sight:
    """A picture made for the network, ``colours`` (H, W, 3) uint8, and the ``probability`` of the target on it."""

    colours: NDArray[np.uint8]
    probability: float


@dataclass(frozen=True, eq=False)
class Gathered:
    """The references of a Libra-CAM request as far as they are measured.

    Args:
        probe: in the precision of the request; ``exact`` is the same in float32.
        indices: (n,) into the library, in the order in which they are used, the ``pinned`` ones first.
        evidence: of these references.
    """

    probe: Probe
    exact: Probe
    method: LibraCAM
    target: int
    library: Library
    indices: Tensor
    pinned: int
    evidence: LibraEvidence


_WEIGHTS = 2 * 2**30  # bytes, of the backbones that are kept loaded
_EVIDENCE = 2**28  # bytes, of what is measured of references


class Engine:
    """Holds what is dear to make: loaded backbones, opened libraries, probes, masked scores of references.

    Calls are served one at a time; the caches are bounded.
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = torch.device(device) if device else best_device()
        self._lock = threading.RLock()
        self._own: dict[str, Backbone] = {}
        self._backbones: LRU[str, Backbone] = LRU(_WEIGHTS, weigh=lambda backbone: backbone.nbytes)
        self._libraries: LRU[tuple[str, str], Library] = LRU(8)
        self._probes: LRU[tuple[str, str, str], Probe] = LRU(4)
        self._evidence: LRU[tuple[object, ...], _Measured] = LRU(_EVIDENCE, weigh=nbytes)
        self._networks: dict[str, _Network] = {}

    def backbone(self, name: str, progress: Progress | None = None) -> Backbone:
        """The backbone, loaded once."""
        progress = progress or Silent()
        with self._lock:
            backbone = self._own.get(name) or self._backbones.get(name)
            if backbone is None:
                progress.begin(f"Loading {name}")
                backbone = self._backbones.put(name, load(name, self.device, _downloads(name, progress)))
            height, width = backbone.preprocessing.crop
            self._networks[name] = _Network(backbone.layers, height * width, backbone.speed)
            return backbone

    def pace(self, backbone: str) -> float | None:
        """Seconds that a forward pass of a backbone takes by those of masked pictures; None while there was none."""
        known = self._networks.get(backbone)
        return known.speed.pace if known else None

    def passes(self, request: Request) -> int | None:
        """About how many forward passes an explanation takes; None while its network was never loaded."""
        known = self._networks.get(request.backbone)
        if known is None:
            return None
        return request.method.passes(layer_called(known.layers, request.layer)) + len(request.levels)

    def figure_passes(self, request: Request, metrics: Sequence[Metric]) -> int | None:
        """The same of the figures of a map, which is made again for them."""
        known = self._networks.get(request.backbone)
        if known is None:
            return None
        if not metrics:
            return 0
        once = request.method.passes(layer_called(known.layers, request.layer))
        again = 1 if isinstance(request.method, LibraCAM) else once  # its references stay measured
        return again + passes_of(tuple(metrics), known.pixels, once)

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
                seconds, passes = time.perf_counter() - started, probe.passes - made.before
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
                    passes + made.reused,
                    seconds,
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
            probe.tick = progress.passed
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
            probe = self._exact(picture, explanation.request, progress or Silent())
            saliency = explanation.attribution.saliency
            shown = Examined(Canvas(probe), explanation.target, saliency, lambda probe: saliency)
            [image] = perturbation.pictures([perturbation], shown)
            return probe.cut.backbone.preprocessing.colours(image).numpy()

    def curve(
        self,
        picture: Picture,
        explanation: Explanation,
        levels: tuple[int, ...],
        by: By,
        progress: Progress | None = None,
    ) -> Curve:
        """The calibration curve of a map, cut by area or by value; in float32 whatever the precision of the map."""
        progress = progress or Silent()
        with self._lock:
            probe = self._exact(picture, explanation.request, progress)
            probe.tick = progress.passed
            progress.begin(f"Measuring the curve of {explanation.request.method.title}", len(levels))
            saliency = explanation.attribution.saliency.to(probe.image.device)
            return curve(probe, saliency, explanation.target, levels, by)

    def at_cut(
        self,
        picture: Picture,
        explanation: Explanation,
        percent: int,
        by: By,
        progress: Progress | None = None,
    ) -> tuple[Sight, Sight]:
        """What the network sees of a picture under a map that is cut, and under its complement."""
        progress = progress or Silent()
        with self._lock:
            probe = self._exact(picture, explanation.request, progress)
            probe.tick = progress.passed
            progress.begin(f"Masking by {explanation.request.method.title}", 2)
            kept = cut_map(explanation.attribution.saliency.to(probe.image.device), percent, by)
            masks = torch.stack([kept, 1 - kept])
            preprocessing = probe.cut.backbone.preprocessing
            first, second = (
                Sight(preprocessing.colours(probe.image * mask).numpy(), chance)
                for mask, chance in zip(masks, probe.scores(masks, explanation.target).tolist(), strict=True)
            )
            return first, second

    def walk(
        self,
        picture: Picture,
        request: Request,
        walk: Callable[[Probe, int], T],
        progress: Progress | None = None,
    ) -> T:
        """What a walk through a method makes of a picture and the class of a request; in float32. The method of the
        request is not looked at."""
        progress = progress or Silent()
        with self._lock:
            probe = self._exact(picture, request, progress)
            probe.tick = progress.passed
            progress.begin("Taking the steps apart")
            return walk(probe, _target(request, probe))

    def _exact(self, picture: Picture, request: Request, progress: Progress) -> Probe:
        return self._probe(picture, self.backbone(request.backbone, progress).cut(request.layer), "float32")

    def _attribute(self, picture: Picture, request: Request, progress: Progress) -> "_Made":
        backbone = self.backbone(request.backbone, progress)
        cut = backbone.cut(request.layer)
        probe = self._probe(picture, cut, request.precision)
        before = probe.passes - 1
        target = _target(request, probe)
        probe.tick = progress.passed
        method = request.method
        method.refuse_undefined(cut)
        progress.begin(method.title, method.passes(cut.layer) - 1)
        attribution: Attribution
        references: ReferencesUsed | None = None
        stored: tuple[Library, Tensor] | None = None
        attribute: Callable[..., Attribution] = method
        reused = 0

        @cache
        def activations() -> Tensor | None:
            """Of the references, read at the first use: evidence that is measured needs them no more."""
            return stored and stored[0].activations(stored[1])

        if isinstance(method, LibraCAM):
            attribution, references, reused = self._libra(picture, request, probe, target, progress)
            stored = references.library, references.indices
            attribute = partial(method, pinned=references.pinned)
        else:
            if method.needs_references():
                library, selection, _ = self._select(picture, request, probe, target, progress)
                stored = library, selection.indices
            attribution = method(probe, target, activations())
        if (note := method.coincides(cut)) is not None:
            attribution = replace(attribution, notes=(*attribution.notes, note))

        def explain(other: Probe) -> Tensor:
            other = other.in_precision(request.precision)
            # A library of one network says nothing to another.
            if other.cut.fingerprint != cut.fingerprint and method.needs_references():
                made = self._on_the_fly(picture, other.cut, progress)
                return method(other, target, made.activations(torch.arange(len(made)))).saliency
            return attribute(other, target, activations()).saliency

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
        return self.study(picture, request, lambda gathered, _: len(gathered.evidence), progress)

    def study(
        self,
        picture: Picture,
        request: Request,
        study: Callable[[Gathered, Progress], T],
        progress: Progress | None = None,
    ) -> T:
        """What a study makes of the references of a Libra-CAM request, which are measured first where they are not."""
        method = request.method
        assert isinstance(method, LibraCAM)
        progress = progress or Silent()
        with self._lock:
            exact = self._exact(picture, request, progress)
            probe = self._probe(picture, exact.cut, request.precision)
            probe.tick = exact.tick = progress.passed
            target = _target(request, probe)
            found = self._gather(picture, request, probe, target, progress)
            indices = found.selection.indices[: len(found.evidence)]
            return study(
                Gathered(probe, exact, method, target, found.library, indices, found.pinned, found.evidence),
                progress,
            )

    def _libra(
        self, picture: Picture, request: Request, probe: Probe, target: int, progress: Progress
    ) -> tuple[LibraAttribution, ReferencesUsed, int]:
        method = request.method
        assert isinstance(method, LibraCAM)
        gathered = self._gather(picture, request, probe, target, progress)
        attribution = method.combine(gathered.evidence, probe, gathered.pinned)
        selection = gathered.selection
        used = ReferencesUsed(
            gathered.library,
            selection.indices[: method.size],
            attribution.gains.cpu(),
            attribution.kept.cpu(),
            min(gathered.pinned, len(attribution.kept)),
            len(selection.indices),
            selection.qualified,
            selection.fallback,
            len(gathered.evidence),
        )
        return attribution, used, gathered.reused

    def _select(
        self, picture: Picture, request: Request, probe: Probe, target: int, progress: Progress
    ) -> tuple[Library, Selection, int]:
        """The library, its records in the order in which they are used, and how many of the first are pinned."""
        if request.library == ON_THE_FLY:
            library = self._on_the_fly(picture, probe.cut, progress)
        else:
            library = self.library(probe.cut, request.library, progress)
        preprocessing = probe.cut.backbone.preprocessing
        subject = Subject.seen(picture.digest, probe.image, probe.activation, preprocessing)
        selection = select(
            library, target, rule=request.rule, seed=request.seed, limit=request.limit, subject=subject
        )
        if not len(selection.indices):
            raise ExplorerError(
                f"The library {request.library!r} holds no picture of another class than "
                f"{probe.cut.backbone.labels[target]!r}: choose or build another library."
            )
        indices, pinned = _preferred(selection.indices, library, request)
        if not len(indices):
            raise ExplorerError("Every reference is excluded: use some of them again.")
        return library, replace(selection, indices=indices), pinned

    def _gather(
        self, picture: Picture, request: Request, probe: Probe, target: int, progress: Progress
    ) -> "_Gathered":
        """The evidence of at least the references asked for, measured in whole batches and kept by record, so that
        another order of them costs nothing."""
        method = request.method
        assert isinstance(method, LibraCAM)
        library, selection, pinned = self._select(picture, request, probe, target, progress)
        order = selection.indices
        wanted = order[: math.ceil(method.size / probe.batch) * probe.batch]
        key = (
            *(picture.digest, probe.cut.fingerprint, target, request.precision, method.official),
            library.info.fingerprint,
        )
        known = self._evidence.get(key) or _Measured(None, torch.full((len(library),), -1))
        missing = order[known.rows[order] < 0]
        progress.begin(f"{method.title}: measuring references", int((known.rows[wanted] < 0).sum()))
        fresh = 0
        while (known.rows[wanted] < 0).any():
            chosen = missing[fresh : fresh + probe.batch]
            more = method.evidence(probe, target, library.activations(chosen))
            known = self._evidence.put(key, known.extended(chosen, more))
            fresh += len(chosen)
        rows = known.rows[order]
        measured = rows[: int((rows >= 0).cumprod(0).sum())]
        assert known.evidence is not None
        return _Gathered(library, selection, pinned, known.evidence.taken(measured), len(wanted) - fresh)


@dataclass(frozen=True)
class _Network:
    """What is remembered of a network that was loaded: its layers, how many pixels it sees, and its speed."""

    layers: tuple[Layer, ...]
    pixels: int
    speed: Speed


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
    pinned: int
    evidence: LibraEvidence
    reused: int


@dataclass(frozen=True, eq=False)
class _Measured:
    """The evidence of the references measured so far; ``rows`` (N,) says where in it each record of the library is, -1
    for nowhere."""

    evidence: LibraEvidence | None
    rows: Tensor

    def extended(self, chosen: Tensor, more: LibraEvidence) -> "_Measured":
        """This followed by the evidence of further records."""
        done = 0 if self.evidence is None else len(self.evidence)
        rows = self.rows.index_copy(0, chosen, torch.arange(done, done + len(chosen)))
        return _Measured(more if self.evidence is None else self.evidence.extended(more), rows)


def _target(request: Request, probe: Probe) -> int:
    """The class that is to be explained."""
    target, classes = request.target, len(probe.logits)
    if target is None:
        return int(probe.logits.argmax())
    if isinstance(target, str):
        return _class_called(target, request.backbone, probe.cut.backbone.labels)
    if not 0 <= target < classes:
        raise ExplorerError(f"{request.backbone} has no class {target}: its classes are 0 to {classes - 1}.")
    return target


def _class_called(name: str, backbone: str, labels: Sequence[str]) -> int:
    """The class of a name, whatever its case if none is written just so."""
    found = [index for index, label in enumerate(labels) if label == name] or [
        index for index, label in enumerate(labels) if label.casefold() == name.casefold()
    ]
    if not found:
        raise UnknownClassError(
            f"{backbone} knows no class called {name[:80]!r}: name another, or give an index from 0 to "
            f"{len(labels) - 1}."
        )
    if len(found) > 1:
        several = " and ".join(map(str, found))
        raise UnknownClassError(
            f"{backbone} has {len(found)} classes called {name[:80]!r}, {several}: give an index."
        )
    return found[0]


def _preferred(indices: Tensor, library: Library, request: Request) -> tuple[Tensor, int]:
    """The order of a selection with the pinned records first and without the excluded ones, and how many are pinned."""
    if not request.pinned and not request.excluded:
        return indices, 0
    places = {library.ids[index]: index for index in indices.tolist()}
    pinned = [name for name in dict.fromkeys(request.pinned) if name in places.keys() - request.excluded]
    rest = [name for name in places if name not in {*pinned, *request.excluded}]
    return torch.tensor([places[name] for name in (*pinned, *rest)], dtype=torch.int64), len(pinned)


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
