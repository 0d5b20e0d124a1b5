"""Writes docs/results.md: Libra-CAM by size and rule of its library, every method, and the published orders.

    PYTHONPATH=. python docs/make_results.py DATA RESULTS

DATA holds validation/ (300 photographs, labels.csv, boxes.csv) and references/ (photographs, labels.csv). It takes
hours, in evaluations of some minutes. docs/results keeps the table of each that has ended, which is not measured
again, and docs/results.md is written after each of what is there; RESULTS keeps the journals, so that one that was
stopped goes on. A C++ compiler is needed.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd

from explorer.cli import main
from explorer.declaration import parse
from explorer.evaluation import Summary, as_markdown, read_csv, summarise
from explorer.library import RULES, installed
from explorer.methods import find as find_method
from explorer.metrics import METRICS
from explorer.metrics import find as find_metric
from explorer.render.results import column_of

BACKBONES = ("squeezenet1_1", "efficientnet_lite0")
TABLES = Path(__file__).parent / "results"
LIBRARY = "imagenet"
METHODS = (
    *(
        "fullgrad",
        "cam",
        "grad-cam",
        "grad-cam++",
        "smooth-grad-cam++",
        "xgrad-cam",
        "hires-cam",
        "layer-cam",
    ),
    *(
        "finer-cam",
        "ablation-cam",
        "lift-cam",
        "shapley-cam:pairs=2:channels=128",
        "lime-cam:samples=256",
        "lrp-cam",
    ),
    *(
        "relevance-cam",
        "agf",
        "opti-cam:iterations=20",
        "sig-cam:points=2",
        "libra-cam",
        "libra-cam:official",
    ),
    *("eigen-cam", "fake-cam", "random", "centre-gaussian", "constant"),
)
COSTLY = ("score-cam:channels=256", "ss-cam:channels=64:samples=4", "is-cam:channels=64:steps=4")
"""Each measured apart, beside the baseline: a pass for each channel that is asked, and more."""
CONTROLS = ("fake-cam", "constant")
"""Measured apart beside the baseline: on them the rates hang on what rounds a millionth."""
UNDEFINED = {"squeezenet1_1": {"cam"}}
MEASURED = (
    *(
        "average-drop",
        "average-increase",
        "average-gain",
        "average-drop-in-deletion",
        "coherency",
        "complexity",
    ),
    *(
        "adcc",
        "average-probability-increase",
        "average-probability-drop",
        "increase-rate",
        "drop-rate",
        "ties",
    ),
    *("calibration-auc", "energy-pointing-game", "pointing-game", "box-iou", "best-iou"),
    *("average-drop:fill=black", "average-gain:fill=black"),
)
STEPPED = (
    *("grad-cam", "grad-cam++", "score-cam:channels=256", "xgrad-cam", "layer-cam", "ablation-cam"),
    *("lift-cam", "opti-cam:iterations=20", "libra-cam", "fake-cam", "random", "centre-gaussian"),
)
STEPS = ("insertion", "deletion")
"""Measured apart, of fewer methods: near a hundred passes for each map."""
PARTS, PART = 3, 100
"""The photographs are measured a part after the other, of so many each."""
_SIZED = [str(parse(f"libra-cam:size={size}", find_method)) for size in (1, 5, 10, 30, 100, 300)]
# Means as published: method, then one number for each metric.
PUBLISHED: dict[str, tuple[tuple[str, ...], dict[str, tuple[float, ...]]]] = {
    "Opti-CAM, table 1, ResNet-50": (
        ("average-drop", "average-gain", "average-increase"),
        {
            "fake-cam": (0.8, 1.6, 46.0),
            "grad-cam": (12.2, 17.6, 44.4),
            "grad-cam++": (12.9, 16.0, 42.1),
            "score-cam": (8.6, 26.6, 56.7),
            "ablation-cam": (12.5, 16.4, 42.8),
            "layer-cam": (15.6, 15.0, 38.8),
            "opti-cam": (1.5, 68.8, 92.8),
        },
    ),
    "Opti-CAM, table 1, VGG-16": (
        ("average-drop", "average-gain", "average-increase"),
        {
            "fake-cam": (0.5, 0.6, 42.6),
            "grad-cam": (14.2, 14.7, 40.6),
            "grad-cam++": (17.1, 10.2, 33.4),
            "score-cam": (13.5, 15.6, 41.7),
            "ablation-cam": (15.5, 12.6, 36.9),
            "xgrad-cam": (13.8, 14.8, 41.2),
            "layer-cam": (48.9, 3.1, 13.5),
            "hires-cam": (15.8, 13.2, 37.8),
            "opti-cam": (1.3, 71.2, 92.7),
        },
    ),
    "Opti-CAM, table 3, ResNet-50": (
        STEPS,
        {
            "fake-cam": (50.7, 28.1),
            "grad-cam": (66.3, 14.7),
            "grad-cam++": (66.0, 14.7),
            "score-cam": (65.7, 16.3),
            "xgrad-cam": (66.3, 14.7),
            "layer-cam": (67.0, 14.2),
            "ablation-cam": (65.9, 14.6),
            "opti-cam": (62.0, 19.7),
        },
    ),
    "Opti-CAM, table 3, VGG-16": (
        STEPS,
        {
            "fake-cam": (46.1, 26.9),
            "grad-cam": (64.1, 11.6),
            "grad-cam++": (62.9, 12.2),
            "score-cam": (62.5, 12.1),
            "xgrad-cam": (64.1, 11.7),
            "layer-cam": (58.3, 6.4),
            "ablation-cam": (63.8, 11.4),
            "opti-cam": (59.2, 11.0),
        },
    ),
    "Opti-CAM, table 4, ResNet-50": (
        ("adcc",),
        {
            "grad-cam": (74.3,),
            "grad-cam++": (73.6,),
            "score-cam": (61.0,),
            "ablation-cam": (71.5,),
            "layer-cam": (61.1,),
            "opti-cam": (65.5,),
        },
    ),
    "Opti-CAM, table 4, VGG-16": (
        ("adcc",),
        {
            "grad-cam": (73.7,),
            "grad-cam++": (74.6,),
            "score-cam": (73.9,),
            "xgrad-cam": (73.9,),
            "ablation-cam": (75.5,),
            "layer-cam": (51.7,),
            "opti-cam": (70.0,),
        },
    ),
    "Libra-CAM, ImageNet, ResNet-50": (
        ("average-probability-increase", "average-probability-drop", "increase-rate", "drop-rate"),
        {
            "layer-cam": (0.043, 0.100, 0.381, 0.616),  # printed as Grad-CAM, whose ReLU is per channel there
            "grad-cam++": (0.043, 0.100, 0.379, 0.618),
            "relevance-cam": (0.051, 0.099, 0.393, 0.603),
            "score-cam": (0.060, 0.064, 0.421, 0.574),
            "agf": (0.042, 0.138, 0.350, 0.646),
            "sig-cam": (0.021, 0.459, 0.130, 0.870),
            "libra-cam": (0.115, 0.034, 0.721, 0.276),
        },
    ),
    "Libra-CAM, ImageNet, VGG-16": (
        ("average-probability-increase", "average-probability-drop", "increase-rate", "drop-rate"),
        {
            "grad-cam++": (0.037, 0.145, 0.278, 0.717),
            "relevance-cam": (0.052, 0.137, 0.304, 0.692),
            "score-cam": (0.061, 0.104, 0.318, 0.678),
            "agf": (0.052, 0.135, 0.336, 0.660),
            "sig-cam": (0.017, 0.547, 0.074, 0.926),
            "libra-cam": (0.129, 0.030, 0.705, 0.291),
        },
    ),
}
_UNRANKED = [name for name in METHODS if parse(name, find_method).family == "controls"]
_RESAMPLES = 2000
_SIZE_TO_CHOOSE = """\
**What to choose.** The default of 30 for looking at maps; 10 where time matters: from there on ADCC is not told
apart from the best on either network, but for calibrated maps on SqueezeNet, which lose 1.5 points. AG keeps
rising, from 30 to 300 references by 1.9 points on SqueezeNet and 1.0 on EfficientNet-Lite0 (calibrated 5.0 and
1.5), a forward pass for each: take 100 or 300 where AG is compared with other methods, and say how many. A single
reference is too few.
"""
_RULE_TO_CHOOSE = """\
**What to choose.** Nearest where a map should keep what the class needs: it has the lowest AD on both networks, and the
highest AG, told apart from all other rules on EfficientNet-Lite0; on SqueezeNet from none, where lowest is level with
it on plain maps. Its maps are larger; its ADCC is below that of random on SqueezeNet and about the same on
EfficientNet-Lite0. Farthest is the opposite: the smallest plain maps, and the highest AD. Else random, the default,
which asks for nothing to be known. Stratified is random here, since each reference is of a class of its own.
"""
_ORDERS = """\
The first number counts the pairs in the published order, over all published tables; of the others those that are
reversed beyond chance are counted last, and the rest are not told apart here. Below, `a above b` says that a's mean
is the higher one here.

**What holds.** Of Opti-CAM's tables AG and AI on EfficientNet-Lite0, whose head is linear as ResNet-50's is: no pair is
surely reversed; and AD but for Ablation-CAM and Layer-CAM, which do better than published. Of Libra-CAM's that
Libra-CAM is first by API, IR and DR, on both networks. Of Opti-CAM's that by deletion on ResNet-50 Opti-CAM is last but
for Fake-CAM, and Fake-CAM far behind by both deletion and insertion. **What does not.** By insertion and deletion the
methods lie within 3.5 points of each other here, and in another order: Grad-CAM is before Layer-CAM and Ablation-CAM by
deletion on both networks, and Opti-CAM, last by insertion on ResNet-50 there, is in the middle here. ADCC: Opti-CAM,
far down there, is first on both networks here. AD on SqueezeNet, whose head is a convolution with a ReLU: Score-CAM is
among the worst, as few channels take all of its weight, and Layer-CAM is better than Grad-CAM. Sig-CAM, last by far in
Libra-CAM's tables, is in the front here: most of the pairs that are reversed in these have it in them; how its authors
start their search is not published.
"""


def measure(data: Path, results: Path) -> None:
    references, photographs = data / "references", data / "validation"
    parts = [_part(photographs, results / f"pictures {number}", number) for number in range(PARTS)]
    for backbone in BACKBONES:
        if not any((info.name, info.backbone) == (LIBRARY, backbone) for info in installed()):
            labels = ["--labels", str(references / "labels.csv")]
            build = ["library", "build", "--images", str(references), *labels, "--name", LIBRARY]
            assert not main([*build, "--backbone", backbone])
        _evaluate(parts[0], results, f"{backbone}-sizes", backbone, _SIZED, _SIZED[0])
        for rule in RULES:
            name = f"{backbone}-{rule}"
            _evaluate(parts[0], results, name, backbone, ["libra-cam"], "libra-cam", "--rule", rule)
    for number, backbone in product(range(PARTS), BACKBONES):
        apart = {*CONTROLS, *UNDEFINED.get(backbone, ())}
        defined = [method for method in METHODS if method not in apart]
        _evaluate(parts[number], results, _part_name(backbone, "", number), backbone, defined, "grad-cam")
        name = _part_name(backbone, "controls", number)
        _evaluate(parts[number], results, name, backbone, ["grad-cam", *CONTROLS], "grad-cam")
    for backbone, method, number in product(BACKBONES, COSTLY, range(PARTS)):
        name = _part_name(backbone, method.split(":")[0], number)
        _evaluate(parts[number], results, name, backbone, ["grad-cam", method], "grad-cam")
    for number, backbone in product(range(PARTS), BACKBONES):
        name = _part_name(backbone, "steps", number)
        _evaluate(parts[number], results, name, backbone, STEPPED, "grad-cam", metrics=STEPS)


def write() -> None:
    text = "\n".join([*_library_document(), *_document()]) + "\n"
    (TABLES.parent / "results.md").write_text(text, "utf-8")


def _part(photographs: Path, folder: Path, number: int) -> Path:
    """A folder of links to so many photographs by name, and the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = sorted(photographs.glob("*.jpg"))[number * PART : (number + 1) * PART]
    for path in [*chosen, photographs / "labels.csv", photographs / "boxes.csv"]:
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path.resolve())
    return folder


def _evaluate(
    photographs: Path,
    results: Path,
    name: str,
    backbone: str,
    methods: Sequence[str],
    baseline: str,
    *more: str,
    metrics: Sequence[str] = MEASURED,
) -> None:
    """Measures unless the table is there already, keeps its table, and writes the document anew."""
    kept = _kept(name)
    if kept.exists():
        return
    tables = ["--labels", str(photographs / "labels.csv"), "--boxes", str(photographs / "boxes.csv")]
    chosen = ["--methods", ",".join(methods), "--metrics", ",".join(metrics), "--library", LIBRARY]
    command = ["evaluate", "--images", str(photographs), *tables, "--backbone", backbone, *chosen, *more]
    out = results / name
    assert not main([*command, "--compile", "--baseline", baseline, "--workers", "0", "--out", str(out)])
    table = read_csv(out / "pictures.csv").drop(columns=["digest", "label"])
    TABLES.mkdir(exist_ok=True)
    table.astype(dict.fromkeys(table.select_dtypes("float64"), "float32")).to_parquet(
        kept, compression="zstd"
    )
    write()


def _library_document() -> Iterator[str]:
    yield "# Results\n"
    yield (
        "Made by `docs/make_results.py` with the evaluate command: pictures of ImageNet's validation set (squashed to "
        "227 x 227 pixels; an easy selection), the predicted class, masks on the mean colour, the default layer. "
        "References are 500 other photographs of ImageNet, one of every second class. Nothing was tuned on these "
        "pictures. Means in percent with half the width of their 95% bootstrap interval; in each column the best "
        "method is bold, among plain and among calibrated maps, and what does not differ from it significantly is in "
        "italics; the controls Random, Centre Gaussian, Fake-CAM and Constant, which look at no network, are neither. "
        "[metrics.md](metrics.md) defines the columns.\n"
    )
    yield (
        "Calibration chooses, by the very probability that most of these figures measure, the best of ten cuts of "
        "every map: compare plain maps with plain ones and calibrated with calibrated ones, and both with Fake-CAM and "
        "random.\n"
    )
    beside = [one for one in BACKBONES if _kept(_part_name(one, "controls", 0)).exists()]
    if sized := [one for one in beside if _kept(f"{one}-sizes").exists()]:
        yield "## Libra-CAM by the size of its library\n"
        yield (
            f"{PART} photographs; references drawn by the random rule (seed 0), the first so many of them; the row "
            "without a size has 30.\n"
        )
        for backbone in sized:
            yield f"### {backbone}: sizes\n"
            yield from _studied(_table(f"{backbone}-sizes"), backbone, _SIZED)
        yield _SIZE_TO_CHOOSE
    if ruled := [one for one in beside if all(_kept(f"{one}-{rule}").exists() for rule in RULES)]:
        yield "## Libra-CAM by the rule that selects its references\n"
        yield "The same photographs, 30 references. Each row is an evaluation of its own.\n"
        for backbone in ruled:
            yield f"### {backbone}: rules\n"
            rows = {rule: f"{rule} rule" for rule in RULES}
            tables = [
                _table(f"{backbone}-{rule}").replace({"method": {"libra-cam": row}})
                for rule, row in rows.items()
            ]
            yield from _studied(pd.concat(tables), backbone, list(rows.values()))
        yield _RULE_TO_CHOOSE


def _studied(table: pd.DataFrame, backbone: str, names: Sequence[str]) -> Iterator[str]:
    """The table of the first part of the photographs beside Fake-CAM, and which of the names are best."""
    controls = _table(_part_name(backbone, "controls", 0))
    beside = pd.concat([table, controls[controls["method"] == "fake-cam"]])
    summary = _summary(beside, "fake-cam")
    yield _markdown(summary, [*names, "fake-cam"])
    for variant, metric in product(("plain", "calibrated"), ("average-gain", "adcc")):
        scores = {row.method: row.scores[metric] for row in summary.rows if row.variant == variant}
        best = ", ".join(_title(name) for name in names if scores[name].best)
        level = ", ".join(_title(name) for name in names if scores[name].level)
        yield (
            f"- {METRICS[metric].title}, {variant} maps: best is {best}; not told apart from it: {level or 'none'}."
        )
    yield ""


def _document() -> Iterator[str]:
    tables: dict[str, list[pd.DataFrame]] = {backbone: [] for backbone in BACKBONES}
    for backbone in BACKBONES:
        if (table := _scored(backbone)) is not None:
            tables[backbone].append(table)
            yield f"## Every method: {backbone}\n"
            yield f"{_photographs(table)} Costly methods have the budgets that stand beside their names.\n"
            yield _markdown(_summary(table, "grad-cam"), (*METHODS, *COSTLY))
    for backbone in BACKBONES:
        if (table := _joined(backbone, "steps")) is not None:
            tables[backbone].append(table)
            yield f"## Insertion and deletion: {backbone}\n"
            yield f"{_photographs(table)} 1792 pixels a step, into the blurred picture, to the mean colour.\n"
            yield _markdown(_summary(table, "grad-cam"), STEPPED)
    if any(tables.values()):
        yield from _orders(tables)


def _photographs(table: pd.DataFrame) -> str:
    return f"{table['picture'].nunique()} photographs."


def _orders(tables: dict[str, list[pd.DataFrame]]) -> Iterator[str]:
    yield "## Where the published orders hold\n"
    yield (
        "For each published table every pair of the methods that are in it and here: how many pairs stand in the same "
        "order here, by means of plain maps (Libra-CAM, which its authors calibrate, calibrated), and which are "
        "reversed although the 95% interval of their paired difference excludes zero. Networks, pictures, layers and "
        "budgets differ from the published ones, so this is a comparison of orders, not of numbers.\n"
    )
    compared = [
        _compare(source, metric, backbone, {name: row[position] for name, row in rows.items()}, table)
        for backbone, (source, (metrics, rows)) in product(BACKBONES, PUBLISHED.items())
        for position, metric in enumerate(metrics)
        for table in tables[backbone]
        if metric in table
    ]
    yield f"| metric | {' | '.join(BACKBONES)} |\n|---|{'---:|' * len(BACKBONES)}"
    for metric in dict.fromkeys(one.metric for one in compared):
        yield f"| {_symbol(metric)} | {' | '.join(_total(compared, metric, one) for one in BACKBONES)} |"
    yield f"\n{_ORDERS}"
    yield "| published | metric | here | pairs in order | reversed beyond chance |\n|---|---|---|---:|---|"
    for one in compared:
        yield (
            f"| {one.source} | {_symbol(one.metric)} | {one.backbone} | {one.agreed} of {one.pairs} "
            f"| {'; '.join(one.reversed) or 'none'} |"
        )


@dataclass(frozen=True)
class _Compared:
    """One metric of one published table against one network here."""

    source: str
    metric: str
    backbone: str
    agreed: int
    pairs: int
    reversed: tuple[str, ...]


def _total(compared: Sequence[_Compared], metric: str, backbone: str) -> str:
    """Over all published tables."""
    chosen = [one for one in compared if (one.metric, one.backbone) == (metric, backbone)]
    agreed, pairs = sum(one.agreed for one in chosen), sum(one.pairs for one in chosen)
    return f"{agreed} of {pairs}, {sum(len(one.reversed) for one in chosen)} reversed" if pairs else ""


def _symbol(metric: str) -> str:
    return METRICS[metric].symbol


def _scored(backbone: str) -> pd.DataFrame | None:
    """What all evaluations of a network measured, a row for each picture, method and variant; of what is measured apart
    the methods that were measured on all of the pictures."""
    found = _joined(backbone)
    for kind in ("controls", *(method.split(":")[0] for method in COSTLY)):
        more = _joined(backbone, kind)
        if found is not None and more is not None and set(found["picture"]) == set(more["picture"]):
            found = pd.concat([found, more[more["method"] != "grad-cam"]])
    return found


def _joined(backbone: str, kind: str = "") -> pd.DataFrame | None:
    """The parts of an evaluation that are there."""
    tables = [
        _table(name)
        for name in (_part_name(backbone, kind, number) for number in range(PARTS))
        if _kept(name).exists()
    ]
    return pd.concat(tables) if tables else None


def _part_name(backbone: str, kind: str, number: int) -> str:
    return "-".join([backbone, *([kind] if kind else []), str(number)])


def _kept(name: str) -> Path:
    return TABLES / f"{name}.parquet"


def _table(name: str) -> pd.DataFrame:
    return pd.read_parquet(_kept(name))


def _summary(table: pd.DataFrame, baseline: str) -> Summary:
    measured = [parse(name, find_metric) for name in (*MEASURED, *STEPS)]
    columns = [column_of(metric) for metric in measured if str(metric) in table]
    return summarise(table, columns, (baseline, "plain"), controls=_UNRANKED)


def _markdown(summary: Summary, names: Sequence[str]) -> str:
    there = {row.method for row in summary.rows}
    titles = {name: _title(name) for name in dict.fromkeys(names) if name in there}
    return as_markdown(summary, titles, [column.name for column in summary.columns])


def _title(name: str) -> str:
    if name.endswith(" rule"):
        return name
    method = parse(name, find_method)
    return method.title + method.qualifier


def _compare(
    source: str, metric: str, backbone: str, published: dict[str, float], table: pd.DataFrame
) -> _Compared:
    there = set(table["method"].str.split(":").str[0])
    scores = {name: _scores(table, name, metric) for name in published if name in there}
    draws = np.random.default_rng(0)
    pictures = table["picture"].nunique()
    weights = draws.multinomial(pictures, np.full(pictures, 1 / pictures), _RESAMPLES) / pictures
    agreed, pairs, reversed_pairs = 0, 0, []
    for one, other in combinations(scores, 2):
        if published[one] == published[other]:
            continue
        pairs += 1
        sign = 1 if published[one] > published[other] else -1
        differences = sign * (scores[one] - scores[other])
        agreed += bool(differences.mean() > 0)
        if np.quantile(weights @ differences, 0.975) < 0:
            first, second = (one, other) if sign < 0 else (other, one)
            reversed_pairs.append(f"{first} above {second}")
    return _Compared(source, metric, backbone, agreed, pairs, tuple(reversed_pairs))


def _scores(table: pd.DataFrame, name: str, metric: str) -> np.ndarray:
    """Of each picture, in the order of the pictures."""
    variant = "calibrated" if name == "libra-cam" else "plain"
    [method] = [
        one for one in (*METHODS, *COSTLY) if one.split(":")[0] == name and one != "libra-cam:official"
    ]
    rows = table[(table["method"] == method) & (table["variant"] == variant)]
    return rows.sort_values("picture")[metric].to_numpy()


if __name__ == "__main__":
    measure(Path(sys.argv[1]), Path(sys.argv[2]))
    write()
