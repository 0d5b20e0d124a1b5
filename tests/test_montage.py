"""The montage of the docs against one made anew, cell by cell.

How far a cell may be off is the largest mean difference, in grey levels, in one of its 7 x 7 fields. Threads, sizes of
batches and older instruction sets move no cell by more than 1 level, Opti-CAM's by up to 9: Adam turns gradients that
are next to nothing into whole steps, so rounding shows. The compression of the file moves a cell by up to 3.
"""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch
from PIL import Image

from docs import make_montage
from explorer.images import SAMPLES
from explorer.methods import METHODS

TOLERANCE = 10
LABELS = 60
TOLERANCES = {"opti-cam": 25, "agf": 5}
SAME = 0.04  # mean difference of two maps, both from 0 to 1
FIELD, STROKE = make_montage.CELL // 7, 2  # pixels
CHANGES = {
    "mirrored": lambda saliency: saliency.flip(1),
    "upside down": lambda saliency: saliency.flip(0),
    "a field to the right": lambda saliency: saliency.roll(saliency.shape[1] // 7, 1),
    "a field down": lambda saliency: saliency.roll(saliency.shape[0] // 7, 0),
}


@pytest.fixture(scope="module")
def explained():
    """Made by one thread: on a busy processor two that wait for each other take five times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return make_montage.explanations()
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cells(explained):
    return {key: make_montage.cell(key[1], explanation) for key, explanation in explained.items()}


@pytest.fixture(scope="module")
def shown(explained):
    """The explanations with a map."""
    return {key: found for key, found in explained.items() if found and not found.attribution.blank}


@pytest.fixture(scope="module")
def kept():
    return Image.open(make_montage.FILE).convert("RGB")


def places():
    for (number, method), (column, photograph) in product(enumerate(METHODS), enumerate(SAMPLES)):
        left, top = make_montage.corner(number, column)
        yield (method, photograph), (left, top, left + make_montage.CELL, top + make_montage.CELL)


def difference(one, other, field=FIELD):
    first, second = (np.asarray(image.reduce(field), float) for image in (one, other))
    return abs(first - second).mean(2).max()


def tolerance(method):
    return TOLERANCES.get(method, TOLERANCE)


def test_every_cell_is_that_of_the_docs(cells, kept):
    off = {key: difference(cells[key], kept.crop(place)) for key, place in places()}
    wrong = [f"{key[0]} on {key[1]}: {value:.0f}" for key, value in off.items() if value > tolerance(key[0])]
    assert not wrong, f"Look at the maps, then run docs/make_montage.py. Off: {', '.join(wrong)}"


def test_labels_are_those_of_the_docs(explained, kept):
    made = make_montage.montage(explained)
    assert made.size == kept.size
    without = kept.copy()
    for _, place in places():
        made.paste("white", place)
        without.paste("white", place)
    assert difference(made, without, STROKE) <= LABELS
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(make_montage.BUDGETS, "score-cam", {"channels": 33})
        other = make_montage.montage(explained)
    for _, place in places():
        other.paste("white", place)
    assert difference(other, without, STROKE) > LABELS


def test_the_file_is_small():
    assert make_montage.FILE.stat().st_size < 700_000


def test_a_missing_map_is_noticed(cells, shown):
    for (method, photograph), explanation in shown.items():
        for gone in (None, changed(explanation, blank="Blank.")):
            off = difference(cells[method, photograph], make_montage.cell(photograph, gone))
            assert off > tolerance(method), (method, photograph)


@pytest.mark.parametrize("change", CHANGES)
def test_a_map_in_the_wrong_place_is_noticed(cells, shown, change):
    """But for the controls, some of which are symmetric."""
    for (method, photograph), explanation in shown.items():
        if METHODS[method].family != "controls":
            moved = changed(explanation, saliency=CHANGES[change](explanation.attribution.saliency))
            off = difference(cells[method, photograph], make_montage.cell(photograph, moved))
            assert off > tolerance(method), (method, photograph)


def test_the_map_of_another_method_is_noticed(cells, shown):
    """In some photograph, unless the two maps are nearly the same in all."""
    maps = {key: explanation.attribution.saliency for key, explanation in shown.items()}
    for one, other in permutations(METHODS, 2):
        both = [name for name in SAMPLES if (one, name) in maps and (other, name) in maps]
        apart = max((float((maps[one, name] - maps[other, name]).abs().mean()) for name in both), default=0.0)
        off = max((difference(cells[one, name], cells[other, name]) for name in both), default=0.0)
        assert apart < SAME or off > tolerance(one), (one, other)


def changed(explanation, **parts):
    return replace(explanation, attribution=replace(explanation.attribution, **parts))
