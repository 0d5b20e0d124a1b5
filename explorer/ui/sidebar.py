"""The controls that all pages share."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from string import hexdigits
from typing import Any, get_args

import streamlit as st

from explorer import backbones, images
from explorer.backbones import Layer
from explorer.calibration import FINE_LEVELS, PAPER_LEVELS
from explorer.compute import Job, Request, Upload
from explorer.declaration import QUALITIES, Quality
from explorer.evaluation import duration
from explorer.images import Picture
from explorer.library import BUILT_IN, ON_THE_FLY, ON_THE_FLY_SIZE, RULES, UNLIKELY, Rule, installed
from explorer.methods import DEFAULT_METHODS, METHODS, Family, Method
from explorer.metrics import Metric
from explorer.ui.preferences import preferred
from explorer.ui.state import service, waiter
from explorer.ui.strip import Chosen, figure_controls
from explorer.ui.view import (
    REFUSED,
    bound,
    counted,
    grouped,
    known,
    network,
    number,
    one_of,
    segmented,
    several,
    some_of,
    start_anew,
    toggled,
    turn,
    view,
    whole,
)

_CONTROLS = ("random", "centre-gaussian", "fake-cam")
_BUILT_IN_SIZE = 120
_LONGEST_SLIDER = 1000
_LIMITS = (1e-6, 1e-5, UNLIKELY, 1e-3, 1e-2, 0.1, 1.0)
_MOMENT = 0.1  # seconds
_FAMILIES: dict[str, str] = {
    "gradients": "Channels weighted by the gradient of the class: one pass back, so they are quick.",
    "masking": "Channels weighted by what the network says of the picture that they mask: a forward pass for each.",
    "Shapley values": "The channels' fair shares in the score of the class, exact or by sampling.",
    "relevance": "The score of the class handed back from layer to layer by rules of propagation.",
    "optimisation": "Weights found for this very picture by optimising what the masked picture scores.",
    "references": "The picture compared with pictures of other classes out of a library.",
    "activations": "What the layer responds to most, whatever the class.",
    "controls": "Maps that look at no network, to compare the others with: a good method must beat them.",
}
_LAYER = "Where the network is cut: channels x height x width of its maps. The deepest is on top."


@dataclass(frozen=True)
class Choice:
    """What the controls say: everything of a request but the target.

    ``complete`` is False while the layers of the backbone are not known yet, so that none can be chosen;
    ``undefined`` finds out which methods are not defined at the layer; ``figures`` is what the maps are measured by;
    ``elsewhere`` draws options that do not stand in the sidebar, by their keys, and says what they are.
    """

    samples: tuple[str, ...]
    uploads: tuple[Upload, ...]
    methods: tuple[Method, ...]
    request: Request
    complete: bool
    undefined: Job[dict[str, str]] | None
    figures: Chosen
    elsewhere: Mapping[str, Callable[[], Any]]

    def pictures(self) -> list[Job[Picture]]:
        """The chosen pictures, the newest uploads first; asks for them again, which keeps them wanted."""
        uploads = [service().upload(upload, waiter()) for upload in self.uploads]
        return uploads + [service().sample(identifier, waiter()) for identifier in self.samples]

    def layers(self) -> Job[tuple[Layer, ...]]:
        return service().layers(self.request.backbone, waiter())


def beside_controls(methods: Sequence[Method]) -> tuple[Method, ...]:
    """Draws the toggle that puts controls beside the methods."""
    wanted = toggled(
        "controls",
        True,
        label="With controls",
        help="Adds random values, a centred blob and Fake-CAM, which look at no network: what a method must beat.",
    )
    chosen = {method.name for method in methods}
    missing = [name for name in _CONTROLS if name not in chosen] if wanted else []
    return (*methods, *(METHODS[name]() for name in missing))


def controls(elsewhere: Collection[str] = ()) -> Choice:
    """Draws the sidebar.

    Args:
        elsewhere: the keys of the options that the page draws itself.
    """
    st.header("Pictures", anchor=False)
    uploads = _uploads()
    samples = bound(
        st.pills,
        "samples",
        ["chelsea"],
        some_of(images.SAMPLES),
        ",".join,
        label="Samples",
        options=list(images.SAMPLES),
        format_func=str.capitalize,
        selection_mode="multi",
        help="Photographs that come with scikit-image and scikit-learn.",
    )
    st.header("Network", anchor=False)
    backbone = _backbone()
    layers = _layers(backbone)
    layer = _layer(backbone, layers)
    st.header("Methods", anchor=False)
    undefined = service().undefined(backbone, layer, waiter()) if layers else None
    chosen = _methods(undefined)
    quality = _quality()
    prices = st.container()
    library, rule, seed, limit, records = BUILT_IN, next(iter(RULES)), 0, UNLIKELY, _BUILT_IN_SIZE
    if any(method.needs_references() for method in chosen):
        cut = layer or (layers[-1].name if layers else None)
        library, rule, seed, limit, records = _references(backbone, cut)
    configured = [_configured(method, quality, {"size": records}, elsewhere) for method in chosen]
    methods = tuple(method for method, _ in configured)
    with st.expander("Calibration and precision"):
        fine = toggled(
            "fine",
            label="Calibrate in steps of 2%",
            help="46 levels instead of the paper's 10: a smoother curve for more forward passes.",
        )
        quick = toggled(
            "quick",
            label="Reduced precision, not exact (bfloat16)",
            help="Masked pictures are scored in reduced precision. Probabilities move by up to 0.1 and another "
            "cut may be recommended.",
        )
    request = Request(
        backbone=backbone,
        layer=layer,
        library=library,
        rule=rule,
        seed=seed,
        limit=limit,
        levels=FINE_LEVELS if fine else PAPER_LEVELS,
        precision="bfloat16" if quick else "float32",
        pinned=preferred("pinned"),
        excluded=preferred("excluded"),
    )
    cost = st.container()
    figures = figure_controls()
    if layers and methods:
        with prices:
            _prices(request, methods)
        with cost:
            _cost(request, methods, figures.metrics)
    return Choice(
        tuple(samples),
        uploads,
        methods,
        request,
        complete=bool(layers),
        undefined=undefined,
        figures=figures,
        elsewhere={key: draw for _, others in configured for key, draw in others.items()},
    )


def _uploads() -> tuple[Upload, ...]:
    """The photographs of this visitor, the newest first, then those that a link names and the server still holds."""
    files = st.file_uploader(
        "Your photographs",
        type=["jpg", "jpeg", "png", "webp"],
        key="photographs",
        accept_multiple_files=True,
        max_upload_size=10,
        help="JPEG, PNG or WebP, up to 10 MB each. They stay in this server's memory, where the link of this page "
        "finds them while there is room, and are stored only if you evaluate them.",
    )
    sent: dict[str, str] = st.session_state.setdefault("sent", {})
    own = []
    for file in reversed(files):
        upload = service().uploads.get(sent.get(file.file_id, ""))
        if upload is None:
            upload = service().uploads.put(file.name, file.getvalue())
            sent[file.file_id] = upload.digest
        own.append(replace(upload, name=file.name))
    here = {one.digest for one in own}
    found = (*own, *(one for one in _linked() if one.digest not in here))
    view().keep("uploads", [one.digest for one in found], [], ",".join)
    return found


def _linked() -> list[Upload]:
    """The photographs that the link has named; those that are gone are told."""
    if "linked" not in st.session_state:
        st.session_state["linked"] = view().seed("uploads", [], several(_digest))
    named: list[str] = st.session_state["linked"]
    held = [upload for digest in named if (upload := service().uploads.get(digest))]
    if len(held) < len(named):
        gone = len(named) - len(held)
        st.info(
            f"The server no longer holds {gone} of the photographs that the link names: upload "
            f"{'it' if gone == 1 else 'them'} again."
        )
    if named:
        st.button(
            "Forget the photographs of the link",
            width="stretch",
            on_click=_forget,
            help="Takes them off the page and out of its link.",
        )
    return held


def _forget() -> None:
    st.session_state["linked"] = []


def _digest(text: str) -> Any:
    return text if len(text) == 64 and set(text) <= set(hexdigits.lower()) else REFUSED


def _methods(undefined: Job[dict[str, str]] | None) -> list[type[Method]]:
    """The chosen methods; those that are not defined at the layer are grey, and say why where their map would be."""
    if undefined is not None:
        undefined.wait_for_result(_MOMENT)
    grey = (undefined.result if undefined else None) or {}

    def title(name: str) -> str:
        return f":gray[{METHODS[name].title}]" if name in grey else METHODS[name].title

    families = {
        family: [name for name, method in METHODS.items() if method.family == family]
        for family in get_args(Family)
    }
    chosen = grouped("methods", list(DEFAULT_METHODS), families, _FAMILIES, format_func=title)
    return [METHODS[name] for name in chosen]


def network_title(name: str) -> str:
    """The name of a network, with what it downloads first, if anything."""
    if name not in backbones.names():
        return name
    info = backbones.info(name)
    return name if info.ready or not info.megabytes else f"{name} (downloads {info.megabytes:.0f} MB)"


def _quality() -> Quality:
    quality: Quality = segmented(
        "quality",
        "standard",
        QUALITIES,
        label="Quality",
        format_func=str.capitalize,
        required=True,
        on_change=_choose_anew,
        help="How much the methods compute: Quick is for a first look, Standard the default, Paper what the papers or "
        "their released codes state; a choice sets the options below that decide it, not calibration and precision.",
    )
    return quality


def _choose_anew() -> None:
    """The options that a quality decides start from what it says."""
    for method in METHODS.values():
        for option in method.budget("standard"):
            start_anew(f"{method.name}.{option}")


def _prices(request: Request, methods: Sequence[Method]) -> None:
    """What the maps of a picture would take in each quality, if that differs."""
    counts = {
        quality: passes(replace(request, method=replace(one, **one.budget(quality))) for one in methods)
        for quality in QUALITIES
    }
    if len({count.total() for count in counts.values()}) > 1:
        told = (f"{quality.capitalize()} {price(count)}" for quality, count in counts.items())
        st.caption(f"Passes a picture: {', '.join(told)}.")


def _cost(request: Request, methods: Sequence[Method], metrics: Sequence[Metric]) -> None:
    """What the maps of a picture take, before anybody waits for them."""
    requests = [replace(request, method=method) for method in methods]
    text = f"About {price(passes(requests), ' forward passes a picture')}"
    if metrics:
        text += f", with the figures {price(passes(requests, metrics))}"
    st.caption(
        f"{text}.",
        help="For the maps and their calibration, and for the figures that Compare shows under them; not for what runs "
        "through the last layers alone. The time is that of forward passes as measured on this machine; those of "
        "Opti-CAM and Sig-CAM, with their gradients, take up to three times as long.",
    )


def passes(requests: Iterable[Request], metrics: Sequence[Metric] = ()) -> Counter[str]:
    """By network, about how many forward passes maps take with their calibration and their figures by these metrics; of
    those networks alone that were loaded before."""
    engine, found = service().engine, Counter[str]()
    for request in requests:
        if (once := engine.passes(request)) is not None:
            found[request.backbone] += once + (engine.figure_passes(request, metrics) or 0)
    return found


def price(passes: Counter[str], unit: str = "") -> str:
    """Forward passes by network, and how long they take on this machine if that is known."""
    return f"{passes.total():,}{unit}" + (f" ({took})" if (took := time_of(passes)) else "")


def time_of(passes: Mapping[str, int]) -> str:
    """How long forward passes by network take on this machine; nothing if that is not known."""
    paces = [service().engine.pace(name) for name in passes]
    known = [pace for pace in paces if pace is not None]
    if not known or len(known) < len(paces):
        return ""
    return duration(sum(count * pace for count, pace in zip(passes.values(), known, strict=True)))


def _backbone() -> str:
    models = backbones.own_models()
    own = [model.identifier for model in models]

    parse = network([*own, *backbones.names()])

    chosen = view().seed("backbone", backbones.DEFAULT_BACKBONE, parse)
    options = list(dict.fromkeys([*own, *backbones.names(), chosen]))
    name = bound(
        st.selectbox,
        "backbone",
        backbones.DEFAULT_BACKBONE,
        parse,
        label="Backbone",
        options=options,
        format_func=network_title,
        accept_new_options=True,
        help="The classifier to explain. Type timm:NAME for any pretrained classifier of timm, or add your own on "
        "the page Your model.",
    )
    typed = str(name).strip()[:80]
    meant = [model.identifier for model in models if typed == f"{backbones.PREFIX}{model.name}"]
    return meant[0] if len(meant) == 1 else typed


def _layers(backbone: str) -> tuple[Layer, ...]:
    """The cut points, none while the backbone is not loaded."""
    job = service().layers(backbone, waiter())
    job.wait_for_result(_MOMENT)
    return job.result or ()


def _layer(backbone: str, layers: tuple[Layer, ...]) -> str | None:
    """The chosen cut point, None for the default one."""
    if not layers:
        st.selectbox(
            "Layer", ["end of the feature extractor"], disabled=True, key="layers to come", help=_LAYER
        )
        return None
    shapes = {layer.name: layer.shape for layer in reversed(layers)}
    default = next(iter(shapes))
    key = f"layer.{backbone}"
    chosen = bound(
        st.selectbox,
        key,
        default,
        one_of(shapes),
        label="Layer",
        options=list(shapes),
        format_func=lambda name: f"{name} ({shapes[name]})",
        help=_LAYER,
    )
    return None if chosen == default else str(chosen)


def libraries(backbone: str, layer: str | None) -> dict[str, int]:
    """The libraries that can be chosen, and how many records each holds."""
    here = {i.name: i.records for i in installed() if (i.backbone, i.layer) == (backbone, layer)}
    return {BUILT_IN: _BUILT_IN_SIZE, ON_THE_FLY: ON_THE_FLY_SIZE} | here


def _references(backbone: str, layer: str | None) -> tuple[str, Rule, int, float, int]:
    """Library, rule, seed, limit, and how many records the library holds."""
    sizes = libraries(backbone, layer)
    options = list(sizes)
    parse = one_of({BUILT_IN, ON_THE_FLY, *(info.name for info in installed())})
    wanted = view().seed("library", BUILT_IN, parse)
    if wanted not in options:
        options.append(wanted)
    library = bound(
        st.selectbox,
        "library",
        BUILT_IN,
        parse,
        label="Reference library",
        options=options,
        help="Built-in: crops of the sample photographs, made at first use. On-the-fly: the picture itself in "
        "shuffled tiles, pieces and blur, and the samples; nothing is stored. Build your own on the page "
        "Libraries.",
    )
    with st.expander("Selection of references"):
        rule = bound(
            st.radio,
            "rule",
            next(iter(RULES)),
            one_of(RULES),
            label="Rule",
            options=list(RULES),
            captions=list(RULES.values()),
            format_func=str.capitalize,
            help="Which pictures of the library become references, and in which order they are used.",
        )
        seed = counted(
            st.number_input,
            "seed",
            0,
            0,
            9999,
            label="Seed",
            help="Of the random order: another seed draws other references.",
        )
        limit = bound(
            st.select_slider,
            "limit",
            UNLIKELY,
            lambda text: next((value for value in _LIMITS if str(value) == text), REFUSED),
            label="Target probability at most",
            options=_LIMITS,
            format_func=lambda value: f"{100 * value:g}%",
            help="The rules that draw take only pictures that are as unlikely to be the explained class.",
        )
    return library, rule, seed, limit, sizes.get(library, _BUILT_IN_SIZE)


def _configured(
    method: type[Method], quality: Quality, limits: dict[str, int], elsewhere: Collection[str]
) -> tuple[Method, dict[str, Callable[[], Any]]]:
    """The method with the options that its widgets say, and what draws those that stand elsewhere, by their keys.

    Args:
        quality: decides what they start from.
        limits: for an option, what there is of it, where that is less than the declared maximum.
        elsewhere: as in ``controls``.
    """
    values = {}
    others: dict[str, Callable[[], Any]] = {}
    defaults = method.budget(quality)
    for item in fields(method):
        key, label = f"{method.name}.{item.name}", f"{method.title}: {item.metadata['label']}"
        common = {"label": label, "help": item.metadata["help"]}
        if item.default is False:
            values[item.name] = toggled(key, **common)
            continue
        if choices := item.metadata["choices"]:
            values[item.name] = bound(
                st.selectbox, key, item.default, one_of(choices), options=choices, **common
            )
            continue
        default = defaults.get(item.name, item.default)
        low, high = item.metadata["low"], limits.get(item.name, item.metadata["high"])
        if high <= low:
            values[item.name] = low
            continue
        parse = whole if isinstance(item.default, int) else number
        value = view().seed(key, default, parse(low, item.metadata["high"]))
        drawn: dict[str, tuple[float, bool]] = st.session_state.setdefault("drawn", {})
        away = key in elsewhere
        here = high, away
        # To Streamlit a widget with another limit, or that a page draws itself, is another widget.
        if value > high or drawn.get(key, here) != here:
            turn(key, min(value, high))
        drawn[key] = here
        if high - low <= _LONGEST_SLIDER:
            draw = partial(bound, st.slider, min_value=low, max_value=high)
        elif item.name in limits:
            draw = partial(bound, st.select_slider, options=_steps(key, low, high), format_func=_or_all(high))
        else:
            draw = partial(bound, st.number_input, min_value=low, max_value=high)
        draw = partial(draw, key=key, default=default, parse=parse(low, high), **common)
        if away:
            others[key] = draw
        values[item.name] = known(key, default, parse(low, high)) if away else draw()
    return method(**values), others


def _steps(key: str, low: int, high: int) -> list[int]:
    """The positions of a long slider: low, high, and about four to a power of ten between them.

    With them stand all that anything but the slider has set in this session, as a link does.
    """
    places: set[int] = st.session_state.setdefault(f"places {key}", set())
    places.add(view().values[key])
    even = {first * 10**power for power in range(len(str(high))) for first in (1, 2, 3, 5)}
    return sorted({low, high} | {step for step in even | places if low < step < high})


def _or_all(high: int) -> Callable[[int], str]:
    return lambda step: "all" if step == high else f"{step:,}"
