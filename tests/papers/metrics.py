"""The metrics (methods.md, 3), each from forward passes of the whole network on pictures made by loops."""

import copy
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from papers.libra import calibration, cut

ROUNDING = 1e-6  # what the rates count as no difference


class Shown(NamedTuple):
    """A map (H, W) of a class on a normalised picture (3, H, W), and how the same is made of other pictures."""

    image: np.ndarray
    saliency: np.ndarray
    target: int
    again: Callable  # of a picture: its map
    mean: tuple
    std: tuple
    region: np.ndarray = np.zeros((0, 0), bool)
    boxes: tuple = ()
    forgetful: Callable = lambda seed: ()  # the maps of more and more random networks


def kept(shown, mask, fill):
    """The picture times a mask (H, W), in normalised space or in that of pixels (0.3)."""
    if fill == "mean":
        return shown.image * mask
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (shown.mean, shown.std))
    return ((shown.image * std + mean) * mask - mean) / std


def soft(shown, mask):
    return shown.saliency if mask == "soft" else cut(shown.saliency, shown.saliency.size // 2)


def comparison(formula, inverted=False):
    """A metric of p on the picture and o on what the map keeps of it, or leaves of it."""

    def measure(network, shown, fill="mean", mask="soft"):
        weights = soft(shown, mask)
        picture = kept(shown, 1 - weights if inverted else weights, fill)
        probability = network.probabilities(shown.image)[shown.target]
        return formula(probability, network.probabilities(picture)[shown.target])

    return measure


def relative_drop(p, o):
    return max(0, p - o) / p


def coherency(network, shown, fill="mean"):
    """3.3: from 0 to 1 by Pearson's correlation."""
    one, other = shown.saliency, shown.again(kept(shown, shown.saliency, fill))
    if one.min() == one.max() or other.min() == other.max():
        return 0.0
    return (np.corrcoef(one.flat, other.flat)[0, 1] + 1) / 2


def complexity(network, shown):
    return abs(shown.saliency).sum() / shown.saliency.size


def adcc(network, shown, fill="mean"):
    """3.3: the harmonic mean; 0 where a part of it is."""
    drop = comparison(relative_drop)(network, shown, fill)
    parts = coherency(network, shown, fill), 1 - complexity(network, shown), 1 - drop
    return 0.0 if min(parts) <= 0 else 3 / sum(1 / part for part in parts)


def trapezoid(values):
    """The area under a curve of evenly spaced points, divided by its length."""
    return np.mean([(left + right) / 2 for left, right in itertools.pairwise(values)])


def calibration_area(network, shown):
    masked, _ = calibration(network, shown.image, shown.saliency, shown.target, range(10))
    return trapezoid(masked)


def in_order(saliency):
    """3.4: the pixels from the highest value down, of equal ones the last first."""
    flat = saliency.flatten().tolist()
    return sorted(range(len(flat)), key=lambda pixel: (flat[pixel], pixel))[::-1]


def rise_kernel(length=11, deviation=5):
    """3.4: a one amid zeros, smoothed by a Gaussian of 4 deviations that is reflected at the ends."""
    reach = 4 * deviation
    weights = [math.exp(-(offset**2) / (2 * deviation**2)) for offset in range(-reach, reach + 1)]
    line = np.zeros(length)
    for place in range(length):
        for offset, weight in zip(range(-reach, reach + 1), weights, strict=True):
            reflected = (place + offset) % (2 * length)
            reflected = min(reflected, 2 * length - 1 - reflected)
            line[place] += weight / sum(weights) * (reflected == length // 2)
    return np.outer(line, line)


def blurred(image):
    kernel = rise_kernel()
    reach = len(kernel) // 2
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)))
    found = np.zeros_like(image)
    for down, row in enumerate(kernel):
        for across, weight in enumerate(row):
            found += weight * padded[:, down : down + height, across : across + width]
    return found


def filled(shown, fill):
    return blurred(shown.image) if fill == "blur" else kept(shown, np.zeros_like(shown.saliency), fill)


def step_by_step(network, shown, start, finish, step):
    order = in_order(shown.saliency)
    picture = start.reshape(3, -1).copy()
    scores = [network.probabilities(start)[shown.target]]
    for begin in range(0, len(order), step):
        pixels = order[begin : begin + step]
        picture[:, pixels] = finish.reshape(3, -1)[:, pixels]
        scores.append(network.probabilities(picture.reshape(start.shape))[shown.target])
    return trapezoid(scores)


def insertion(network, shown, step=1792, start="blur"):
    return step_by_step(network, shown, filled(shown, start), shown.image, step)


def deletion(network, shown, step=1792, hole="mean"):
    return step_by_step(network, shown, shown.image, filled(shown, hole), step)


def imputed(image, gone):
    """Rong et al.: every gone pixel is the weighted mean of its neighbours inside the picture; a dense system."""
    _, height, width = image.shape
    pixels = [(int(row), int(column)) for row, column in np.argwhere(gone)]
    number = {pixel: index for index, pixel in enumerate(pixels)}
    system, known = np.zeros((len(pixels), len(pixels))), np.zeros((len(pixels), 3))
    for (row, column), index in number.items():
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                there = row + down, column + across
                if (down, across) == (0, 0) or not (0 <= there[0] < height and 0 <= there[1] < width):
                    continue
                weight = 1 / 12 if down and across else 1 / 6
                system[index, index] += weight
                if there in number:
                    system[index, number[there]] -= weight
                else:
                    known[index] += weight * image[:, *there]
    found = image.copy()
    for pixel, colour in zip(pixels, np.linalg.solve(system, known), strict=True):
        found[:, *pixel] = colour
    return found


def road(network, shown, seed=0):
    """The least salient pixels removed less the most salient ones, halved (as pytorch-grad-cam combines them)."""
    order = in_order(shown.saliency)
    noise = torch.randn(shown.image.shape, generator=torch.Generator().manual_seed(seed)).double().numpy()
    differences = []
    for tenths in (1, 3, 5, 7, 9):
        count = len(order) * tenths // 10
        scores = []
        for chosen in (order[len(order) - count :], order[:count]):
            gone = np.isin(np.arange(len(order)), chosen).reshape(shown.saliency.shape)
            picture = imputed(shown.image, gone) + 0.01 * noise * gone
            scores.append(network.probabilities(picture)[shown.target])
        differences.append((scores[0] - scores[1]) / 2)
    return np.mean(differences)


def infidelity(network, shown, squares=50, side=56, seed=0):
    """Yeh et al.: the mean of (scale * what the map foretells - what happens)^2, at the best scale."""
    generator = torch.Generator().manual_seed(seed)
    size = shown.saliency.shape
    foretold, happened = [], []
    for _ in range(squares):
        top, left = (int(torch.randint(length - side + 1, (), generator=generator)) for length in size)
        square = np.zeros(size)
        square[top : top + side, left : left + side] = 1
        foretold.append((square * shown.saliency).sum())
        without = network.probabilities(shown.image * (1 - square))
        happened.append((network.probabilities(shown.image) - without)[shown.target])
    foretold, happened = np.array(foretold), np.array(happened)
    scale = (foretold * happened).mean() / (foretold**2).mean() if foretold.any() else 1
    return ((scale * foretold - happened) ** 2).mean()


def energy(network, shown):
    inside = sum(value for value, on in zip(shown.saliency.flat, shown.region.flat, strict=True) if on)
    return inside / shown.saliency.sum() if shown.saliency.any() else 0.0


def pointing(network, shown, margin=15):
    if not shown.saliency.any():
        return 0.0
    row, column = np.unravel_index(shown.saliency.argmax(), shown.saliency.shape)
    return float(any(math.hypot(y - row, x - column) <= margin for y, x in np.argwhere(shown.region)))


def largest_part(chosen):
    """The pixels of the largest part of a mask, neighbours at corners included."""
    waiting = {(int(y), int(x)) for y, x in np.argwhere(chosen)}
    parts = []
    while waiting:
        part = open_ = {min(waiting)}
        while open_:
            near = {(y + down, x + across) for y, x in open_ for down in (-1, 0, 1) for across in (-1, 0, 1)}
            open_ = (near & waiting) - part
            part = part | open_
        waiting -= part
        parts.append(part)
    return max(parts, key=len, default=set())


def box_iou(network, shown):
    """3.5: the box of the largest part above the mean; boxes compared pixel by pixel."""
    part = largest_part(shown.saliency > shown.saliency.mean())
    if not part:
        return 0.0
    rows, columns = zip(*part, strict=True)
    found = rectangle(shown, (min(columns), min(rows), max(columns) + 1, max(rows) + 1))
    return max(overlap(found, rectangle(shown, box)) for box in shown.boxes)


def rectangle(shown, box):
    left, top, right, bottom = box
    inside = np.zeros(shown.saliency.shape, bool)
    inside[top:bottom, left:right] = True
    return inside


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def best_iou(network, shown):
    thresholds = np.unique(shown.saliency[shown.saliency > 0])
    return max((overlap(shown.saliency >= value, shown.region) for value in thresholds), default=0.0)


def ranked(values):
    """Ranks from 1, of equal values the mean of theirs."""
    order = sorted(range(values.size), key=values.flatten().tolist().__getitem__)
    ranks = np.zeros(values.size)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values.flat[order[end]] == values.flat[order[start]]:
            end += 1
        for pixel in order[start:end]:
            ranks[pixel] = (start + 1 + end) / 2
        start = end
    return ranks


def randomisation(network, shown, stages=3, seed=0):
    """Adebayo et al.: Spearman's correlation, that of Pearson between ranks; 0 for a constant map."""
    found = []
    for other in shown.forgetful(seed):
        constant = any(values.min() == values.max() for values in (shown.saliency, other))
        found.append(0.0 if constant else np.corrcoef(ranked(shown.saliency), ranked(other))[0, 1])
    return np.mean(found)


def forgotten(model, names, seed=0):
    """A copy of a model in which the named weights are shuffled, each within its tensor, by torch's generator."""
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        weights = model.get_parameter(name).data
        order = torch.randperm(weights.numel(), generator=generator)
        weights.copy_(weights.flatten()[order].view_as(weights))
    return model


METRICS = {
    "average-drop": comparison(relative_drop),
    "average-increase": comparison(lambda p, o: float(o - p > ROUNDING)),
    "average-gain": comparison(lambda p, o: max(0, o - p) / (1 - p)),
    "average-probability-increase": comparison(lambda p, o: max(0, o - p)),
    "average-probability-drop": comparison(lambda p, o: max(0, p - o)),
    "increase-rate": comparison(lambda p, o: float(o - p > ROUNDING)),
    "drop-rate": comparison(lambda p, o: float(p - o > ROUNDING)),
    "ties": comparison(lambda p, o: float(abs(o - p) <= ROUNDING)),
    "average-drop-in-deletion": comparison(lambda p, d: (p - d) / p, inverted=True),
    "calibration-auc": calibration_area,
    "coherency": coherency,
    "complexity": complexity,
    "adcc": adcc,
    "insertion": insertion,
    "deletion": deletion,
    "road": road,
    "infidelity": infidelity,
    "energy-pointing-game": energy,
    "pointing-game": pointing,
    "box-iou": box_iou,
    "best-iou": best_iou,
    "randomisation": randomisation,
}
