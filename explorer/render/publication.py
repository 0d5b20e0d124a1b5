"""A figure for print: pictures against methods, with titles, names, classes and a colour bar."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.compute import Explanation
from explorer.errors import ExplorerError
from explorer.images import Picture
from explorer.render.colour import colour_table, diverging_table
from explorer.render.scale import Ends, shared_ends, signed_ends
from explorer.render.views import Style, drawn, nothing_to_see

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
MAX_PIXELS = 50_000_000

_FONT = "DejaVu Sans"  # comes with matplotlib
_POINTS = 8
_LINE = 1.3 * _POINTS / 72  # inches
_LETTER = 0.56 * _POINTS / 72  # inches, of an average letter
_GAP = 0.04  # inches
_BAR = 0.1  # inches
_NARROWEST = 0.3  # inches, of a cell
_TALLEST = 1.5  # widths, of a cell
_SAFE = 0.85  # of the room for level labels is filled, should their letters be wide
_BESIDE = 1 / 6  # of the figure's width, at most, for labels that stand level
_SETTINGS: Any = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "explorer"}
_DATELESS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


class Row(NamedTuple):
    """Maps of one picture, each with the title of its column; ``title`` is what they share beside it, if anything."""

    picture: Picture
    title: str
    maps: Sequence[tuple[str, Explanation]]


@dataclass(frozen=True)
class Layout(Style):
    """How the figure and its maps are drawn.

    Args:
        width: in inches; the height follows from the pictures.
        dpi: dots per inch, of the PNG and of the pictures inside SVG and PDF.
        photograph, classes, bar: whether each photograph stands beside its maps, the explained class beside the
            picture's name, and a colour bar at the right where the view has colours.
    """

    width: float = 17 / 2.54
    dpi: int = 300
    photograph: bool = True
    classes: bool = True
    bar: bool = True


def grid(rows: Sequence[Row], layout: Layout) -> "Figure":
    """A column for each title, in the order in which they first occur; the photograph in the first of its rows.

    Every picture stands in whole pixels of the figure, so that none is resampled twice. Where the pictures are too low
    for what is said of them, it stands level beside them.

    Raises:
        ExplorerError: too many columns for the width, or over 50 million pixels.
    """
    titles = dict.fromkeys(title for row in rows for title, _ in row.maps)
    columns = ["", *titles] if layout.photograph else [*titles]
    dpi = layout.dpi
    gap, width = round(dpi * _GAP), round(dpi * layout.width)
    shown = [explanation for row in rows for _, explanation in row.maps]
    signed, bar = layout.view == "signed", layout.bar and layout.view not in ("cut", "outline")
    ends = shared_ends(shown, signed=signed) if layout.shared else {}
    ticks, meaning = _signed_bar(shown, ends) if signed else _bar(shown, ends)
    beside = _BAR + (1 + max(map(len, ticks))) * _LETTER + _LINE * bool(meaning) + _GAP
    right = round(dpi * beside) if bar else 0
    fit = _fitted(rows, layout, len(columns), right)
    left, cell = fit.left, fit.cell
    wrapped = [textwrap.wrap(title or "Picture", _letters(cell, dpi)) for title in columns]
    top = round(dpi * (_LINE * max(map(len, wrapped)) + _GAP))
    sheet = _Sheet(width, top + sum(high + gap for high in fit.heights), dpi)
    places = {name: left + position * (cell + gap) for position, name in enumerate(columns)}
    for place, lines in zip(places.values(), wrapped, strict=True):
        sheet.write(place + cell / 2, top - gap, "\n".join(lines), ha="center", va="bottom")
    upper = top
    former = None
    for (picture, _, maps), label, (wide, tall), high in zip(
        rows, fit.labels, fit.sizes, fit.heights, strict=True
    ):
        inset, middle = (cell - wide) // 2, upper + high / 2
        sheet.write(left - 2 * gap, middle, label, rotation=fit.rotation, ha="right", va="center")
        above = upper + (high - tall) // 2
        if layout.photograph and picture is not former:
            sheet.place(picture.image, (places[""] + inset, above, wide, tall))
        former = picture
        for column, explanation in maps:
            place = places[column]
            if nothing_to_see(explanation, layout.view):
                sheet.write(place + cell / 2, middle, "blank", ha="center", va="center", color="#555555")
            else:
                covered = drawn(picture, explanation, layout, ends.get(str(explanation.request.method)))
                sheet.place(covered, (place + inset, above, wide, tall))
        upper += high + gap
    if bar:
        high = upper - gap - top
        table = diverging_table() if signed else colour_table(layout.colour_map)
        sheet.colour_bar(table, ticks, (width - right, top, round(dpi * _BAR), high))
        said = _shortened(meaning, _letters(high, dpi))
        sheet.write(width - gap, top + high / 2, said, rotation=90, ha="right", va="center")
    return sheet.figure


def encoded(figure: "Figure", kind: str) -> bytes:
    """The figure as a file of one of ``FORMATS``, of exactly its size and without a date."""
    import matplotlib

    matplotlib.rcParams.update(_SETTINGS)  # always the same, so that threads do not disturb each other
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=figure.dpi, metadata=_DATELESS.get(kind))
    return buffer.getvalue()


class _Fit(NamedTuple):
    """How the rows fit, in pixels: where the cells begin and how wide they are, and for each row the size of the
    picture, the height and the text beside it, which is turned by so many degrees."""

    left: int
    cell: int
    sizes: list[tuple[int, int]]
    heights: list[int]
    labels: list[str]
    rotation: int


def _fitted(rows: Sequence[Row], layout: Layout, columns: int, right: int) -> _Fit:
    """Labels stand upright; or level, where upright they would have to be cut and level there is more room for them.

    Raises:
        ExplorerError: too many columns for the width.
    """
    dpi = layout.dpi
    gap = round(dpi * _GAP)
    labels = [_label(row, classes=layout.classes) for row in rows]
    longest = max(len(line) for label in labels for line in label)

    def cells(room: float) -> tuple[int, int, list[tuple[int, int]]]:
        """Right of so many inches."""
        left = round(dpi * (room + 2 * _GAP))
        cell = (round(dpi * layout.width) - left - right) // columns - gap
        return left, cell, [_size(row.picture, cell) for row in rows]

    upright = cells(_LINE * max(map(len, labels)))
    if upright[1] < dpi * _NARROWEST:
        raise ExplorerError(
            f"{columns} columns do not fit into {2.54 * layout.width:.1f} cm: choose a wider figure or fewer methods."
        )
    share = _BESIDE * layout.width
    beside = min(_LETTER / _SAFE * longest, share)
    level = cells(beside)
    talls = [tall for _, tall in upright[2]]
    letters = [_letters(tall, dpi) for tall in talls]
    cut = any(most < max(map(len, label)) for label, most in zip(labels, letters, strict=True))
    fit, lowest, rotation = upright, 0.0, 90
    if cut and level[1] >= dpi * _NARROWEST and beside > min(talls) / dpi:
        letters = [min(longest, int(_SAFE * share / _LETTER))] * len(rows)
        fit, lowest, rotation = level, _LINE, 0
    left, cell, sizes = fit
    return _Fit(
        left,
        cell,
        sizes,
        [max(tall, round(dpi * lowest * len(label))) for label, (_, tall) in zip(labels, sizes, strict=True)],
        [
            "\n".join(_shortened(line, most) for line in label)
            for label, most in zip(labels, letters, strict=True)
        ],
        rotation,
    )


class _Sheet:
    """A figure on which everything is placed by pixels from the upper left corner.

    Raises:
        ExplorerError: over 50 million pixels.
    """

    def __init__(self, width: int, height: int, dpi: int) -> None:
        from matplotlib.figure import Figure

        if width * height > MAX_PIXELS:
            raise ExplorerError(
                f"The figure would have {width:,} x {height:,} pixels, over {MAX_PIXELS // 10**6} million: choose a "
                "smaller width or fewer dots per inch."
            )
        self._width, self._height = width, height
        self.figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi)

    def write(self, x: float, y: float, text: str, **how: Any) -> None:
        """Text as it is, never as a formula."""
        self.figure.text(
            x / self._width,
            1 - y / self._height,
            _printable(text),
            family=_FONT,
            size=_POINTS,
            parse_math=False,
            **how,
        )

    def place(self, image: Image.Image, box: tuple[int, int, int, int]) -> None:
        """An image in a box (left, top, width, height)."""
        axes = self._axes(box)
        axes.imshow(image.resize(box[2:], Image.Resampling.LANCZOS), interpolation="none", aspect="auto")
        axes.set_axis_off()

    def colour_bar(
        self, table: NDArray[np.uint8], ticks: Sequence[str], box: tuple[int, int, int, int]
    ) -> None:
        axes = self._axes(box)
        axes.imshow(table[::-1, None], extent=(0, 1, 0, 1), interpolation="none", aspect="auto")
        axes.set_xticks([])
        axes.yaxis.tick_right()
        axes.set_yticks([0, 0.5, 1], ticks, family=_FONT, size=_POINTS - 1)
        axes.get_yticklabels()[0].set_va("bottom")
        axes.get_yticklabels()[-1].set_va("top")
        axes.tick_params(length=2, pad=2, width=0.5)
        for spine in axes.spines.values():
            spine.set_linewidth(0.5)

    def _axes(self, box: tuple[int, int, int, int]) -> Any:
        left, top, width, height = box
        bottom = self._height - top - height
        return self.figure.add_axes(
            (left / self._width, bottom / self._height, width / self._width, height / self._height)
        )


def _size(picture: Picture, cell: int) -> tuple[int, int]:
    """The largest (width, height) of a picture's shape that is as wide as a cell and not much higher."""
    scale = min(cell / picture.width, _TALLEST * cell / picture.height)
    return max(1, round(scale * picture.width)), max(1, round(scale * picture.height))


def _bar(shown: Sequence[Explanation], ends: Mapping[str, Ends]) -> tuple[list[str], str]:
    """What stands at the lower end, the middle and the upper end of the colour bar, and what must be said of it.

    Numbers, unless the maps have several scales.
    """
    usable = [explanation for explanation in shown if explanation.attribution.blank is None]
    scales = {ends.get(str(explanation.request.method), (0.0, 1.0)) for explanation in usable}
    if len(scales) > 1:
        return ["low" if any(low for low, _ in scales) else "0", "", "high"], "one scale per method"
    low, high = next(iter(scales), (0.0, 1.0))
    return [f"{value:.3g}" for value in (low, (low + high) / 2, high)], ""


def _signed_bar(shown: Sequence[Explanation], ends: Mapping[str, Ends]) -> tuple[list[str], str]:
    """The same of signed maps. Numbers, unless the maps have several scales."""
    scales = {
        ends.get(str(explanation.request.method)) or signed_ends(explanation)
        for explanation in shown
        if not nothing_to_see(explanation, "signed")
    }
    if len(scales) == 1 and (scale := scales.pop()) is not None:
        return [f"{value:.3g}" for value in (scale[0], 0.0, scale[1])], ""
    return ["\N{MINUS SIGN}", "0", "+"], f"one scale per {'method' if ends else 'map'}"


def _label(row: Row, *, classes: bool) -> list[str]:
    """What is said of a row, by lines."""
    return [row.picture.name, *([row.title] if row.title else ()), *(_classes(row.maps) if classes else ())]


def _classes(shown: Sequence[tuple[str, Explanation]]) -> list[str]:
    """The classes that maps explain, and below them their probabilities."""
    found = dict.fromkeys((e.label, f"{e.probability:.1%}") for _, e in shown)
    return [", ".join(dict.fromkeys(label for label, _ in found)), ", ".join(chance for _, chance in found)]


def _letters(pixels: int, dpi: int) -> int:
    """How many letters fit into so many pixels."""
    return max(4, int(pixels / dpi / _LETTER))


def _shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _printable(text: str) -> str:
    """The text with a question mark for what the font cannot draw."""
    return "".join(c if c == "\n" or ord(c) in _glyphs() else "?" for c in text)


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(_FONT)).get_charmap())
