"""Makes the picture of every method on the sample photographs: ``PYTHONPATH=. python docs/make_montage.py``."""

import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from explorer.compute import Engine, Explanation, Request
from explorer.images import SAMPLES, sample
from explorer.methods import METHODS, Method
from explorer.render.colour import colour_table
from explorer.render.overlay import Box, overlay

FILE = Path(__file__).with_name("methods.jpg")
BUDGETS: dict[str, dict[str, int]] = {  # options of the costly methods; the others have their defaults
    "score-cam": {"channels": 32},
    "ss-cam": {"channels": 16, "samples": 2},
    "is-cam": {"channels": 16, "steps": 2},
    "opti-cam": {"iterations": 20},
    "sig-cam": {"iterations": 3, "points": 4},
}

BLOCKS = 3  # of rows, side by side
CELL, GAP = 98, 4  # these and all below in pixels
BETWEEN, MARGIN = 40, 36
HEADING = 80  # above the photographs
LABELS = 56  # below them
TITLE, PAUSE = 30, 12  # above and below a row
BLOCK = len(SAMPLES) * (CELL + GAP) - GAP
ROW = TITLE + CELL + PAUSE
ROWS = math.ceil(len(METHODS) / BLOCKS)
TOP = MARGIN + HEADING + CELL + LABELS

INK, PALE, EMPTY = "#1a1a1a", "#6b6b6b", "#e4e4e4"


def explanations() -> dict[tuple[str, str], Explanation | None]:
    """By method and photograph, the map of the predicted class; None where the method is not defined."""
    engine = Engine("cpu")
    methods = [method(**BUDGETS.get(name, {})) for name, method in METHODS.items()]
    undefined = engine.undefined(Request.backbone, methods=methods)

    def explain(method: Method, photograph: str) -> Explanation | None:
        if method.name in undefined:
            return None
        return engine.explain(sample(photograph), Request(method=method, levels=(0,)))

    return {(method.name, name): explain(method, name) for name in SAMPLES for method in methods}


def cell(photograph: str, explanation: Explanation | None) -> Image.Image:
    """What the network sees of a photograph, under the map; grey where there is none."""
    if explanation is None:
        return _grey("undefined\nhere")
    if explanation.attribution.blank is not None:
        return _grey("blank")
    covered = overlay(sample(photograph), explanation.attribution.saliency.numpy(), explanation.box)
    return _seen(covered, explanation.box)


def corner(number: int, column: int) -> tuple[int, int]:
    """The left and top of a cell, from the numbers of its method and of its photograph."""
    block, row = divmod(number, ROWS)
    return MARGIN + block * (BLOCK + BETWEEN) + column * (CELL + GAP), TOP + row * ROW + TITLE


def montage(explained: dict[tuple[str, str], Explanation | None]) -> Image.Image:
    """The photographs above, then a row for each method in the order of the registry."""
    width = 2 * MARGIN + BLOCKS * (BLOCK + BETWEEN) - BETWEEN
    image = Image.new("RGB", (width, TOP + ROWS * ROW - PAUSE + MARGIN), "white")
    known = {name: explanation for (_, name), explanation in explained.items() if explanation is not None}
    _head(image, next(iter(known.values())))
    for block in range(BLOCKS):
        for column, name in enumerate(SAMPLES):
            left, _ = corner(block * ROWS, column)
            image.paste(_seen(sample(name).image, known[name].box), (left, MARGIN + HEADING))
            words = f"{known[name].label}\n{known[name].probability:.0%}"
            _write(image, (left + CELL / 2, MARGIN + HEADING + CELL + 6), words, 14, anchor="ma")
    for number, (name, method) in enumerate(METHODS.items()):
        left, top = corner(number, 0)
        line = top - 9
        budget = ", ".join(f"{value} {option}" for option, value in BUDGETS.get(name, {}).items())
        end = _write(image, (left, line), method.title, 18)
        _write(image, (end + 10, line), budget, 14, PALE)
        _write(image, (left + BLOCK, line), method.family, 14, PALE, anchor="rs")
        for column, photograph in enumerate(SAMPLES):
            image.paste(cell(photograph, explained[name, photograph]), corner(number, column))
    return image


def _head(image: Image.Image, explanation: Explanation) -> None:
    _write(image, (MARGIN, MARGIN + 20), "Where each method says the network looked", 26)
    words = f"The predicted class, at layer {explanation.layer.name} of {explanation.request.backbone}. "
    words += "Many methods coincide here: one linear layer follows the pooling. Controls look at no network."
    _write(image, (MARGIN, MARGIN + 48), words, 16, PALE)
    ramp = Image.fromarray(colour_table("inferno")[None]).resize((160, 14))
    left = image.width - MARGIN - ramp.width - 44
    image.paste(ramp, (left, MARGIN + 8))
    _write(image, (left - 8, MARGIN + 20), "least", 16, PALE, anchor="rs")
    _write(image, (left + ramp.width + 8, MARGIN + 20), "most", 16, PALE)


def _write(
    image: Image.Image,
    place: tuple[float, float],
    words: str,
    size: int,
    colour: str = INK,
    anchor: str = "ls",
) -> float:
    """Writes words, and returns where the first line would end from the left of the place."""
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(image)
    draw.text(place, words, colour, font, anchor=anchor, align="center")
    return place[0] + draw.textlength(words.split("\n")[0], font)


def _seen(image: Image.Image, box: Box) -> Image.Image:
    """The network's crop, without the line around it."""
    sides = (image.width, image.height)
    left, top, right, bottom = (round(part * side) for part, side in zip(box, sides * 2, strict=True))
    return image.crop((left + 1, top + 1, right - 1, bottom - 1)).resize(
        (CELL, CELL), Image.Resampling.LANCZOS
    )


def _grey(words: str) -> Image.Image:
    image = Image.new("RGB", (CELL, CELL), EMPTY)
    _write(image, (CELL / 2, CELL / 2), words, 14, PALE, anchor="mm")
    return image


def main() -> None:
    image = montage(explanations())
    image.save(FILE, quality=85, optimize=True)
    print(f"docs/{FILE.name}: {image.width} x {image.height}, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
