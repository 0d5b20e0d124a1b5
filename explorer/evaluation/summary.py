"""What a table of scores says of the methods: means, how sure they are, and who differs from whom."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from scipy import stats

KEY = ["picture", "method", "variant"]
VARIANTS = ("plain", "calibrated")
LEVEL = 0.05
# Differences up to this are the rounding of float32 networks: methods that are the same on paper tie.
TIE = 1e-5
_BLOCK = 256


@dataclass(frozen=True)
class Column:
    """A metric as a column of the table: its registered name, and what a reader is told of it.

    Args:
        better: which way is better; None for a figure that only describes.
        definition: the options it was computed with, in words.
    """

    name: str
    symbol: str
    title: str
    better: Literal["higher", "lower"] | None
    definition: str


ADCC_OF_MEANS = Column(
    "adcc-of-means",
    "ADCC of means",
    "ADCC of the means",
    "higher",
    "harmonic mean of mean coherency, 1 - mean complexity and 1 - mean average drop",
)
_ADCC_PARTS = ("coherency", "complexity", "average-drop")


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` pictures, their standard deviation, and the mean's 95% bootstrap interval.

    None where it is undefined: a mean of no picture, a deviation or interval of fewer than two.
    """

    n: int
    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """Scores less the baseline's on the same ``n`` pictures: mean, its 95% bootstrap interval, Holm's p.

    ``won``, ``tied`` and ``lost`` count pictures; they are None for a metric without a better direction, and for
    ADCC of the means, which no single picture has.
    """

    n: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    won: int | None
    tied: int | None
    lost: int | None


@dataclass(frozen=True)
class Score:
    """One method by one metric.

    Args:
        everywhere: over all pictures.
        correct: over the pictures that the network classifies correctly; None where no class is known.
        rank: 1 for the best mean of the methods of the same variant; None without a better direction.
        p_best: Holm's p of differing from the best of the same variant; None for that one itself.
        against: the comparison with the baseline; None for the baseline itself.
    """

    everywhere: Estimate
    correct: Estimate | None
    rank: int | None
    p_best: float | None
    against: Comparison | None

    @property
    def best(self) -> bool:
        return self.rank == 1

    @property
    def level(self) -> bool:
        """Whether it is not the best and not significantly worse either."""
        return not self.best and self.p_best is not None and self.p_best >= LEVEL


@dataclass(frozen=True)
class Row:
    """One method in one variant: its scores by the name of the metric, and how many of its maps are blank."""

    method: str
    variant: str
    pictures: int
    blank: int
    scores: dict[str, Score]


@dataclass(frozen=True)
class Summary:
    """What ``summarise`` found; rows are sorted by method, plain before calibrated."""

    columns: tuple[Column, ...]
    baseline: tuple[str, str]
    pictures: int
    correct: int | None
    resamples: int
    seed: int
    rows: tuple[Row, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same, ready for strict JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The summary that ``as_dict`` wrote, through JSON too."""
        return cls(
            tuple(Column(**column) for column in content["columns"]),
            (content["baseline"][0], content["baseline"][1]),
            content["pictures"],
            content["correct"],
            content["resamples"],
            content["seed"],
            tuple(
                Row(**{**row, "scores": {name: _score(score) for name, score in row["scores"].items()}})
                for row in content["rows"]
            ),
        )


def _score(content: Mapping[str, Any]) -> Score:
    correct, against = content["correct"], content["against"]
    return Score(
        Estimate(**content["everywhere"]),
        correct and Estimate(**correct),
        content["rank"],
        content["p_best"],
        against and Comparison(**against),
    )


@dataclass(frozen=True)
class _Means:
    """Of G methods by M metrics: n, mean and deviation (G, M), and the means of R resamples (R, G, M)."""

    n: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    resampled: np.ndarray


def summarise(
    table: pd.DataFrame,
    columns: Sequence[Column],
    baseline: tuple[str, str],
    *,
    resamples: int = 10000,
    seed: int = 0,
) -> Summary:
    """Compares the methods of a table with one row for each picture, method and variant, in any order.

    Intervals are percentile bootstrap intervals over pictures (Efron and Tibshirani 1993, chapter 13). Every method
    and metric sees the same resampled pictures, so differences stay paired and ADCC can be made of resampled means;
    BCa would correct for skewness, of which a mean over hundreds of pictures keeps next to nothing.
    p values are two-sided Wilcoxon signed-rank tests in which zero differences are ranked (Pratt 1959), 1 where all
    are zero, corrected for the number of methods compared (Holm 1979). ADCC of the means has no value for one
    picture: its p is that of the difference over its bootstrap standard error (Wald, chapter 12).

    Args:
        table: the columns picture, method, variant, blank and correct (None where the class is unknown), and a float
            column, as a fraction, for every metric; NaN is left out, in comparisons the picture is then left out.
        baseline: (method, variant) with which every other row is compared.

    Raises:
        ValueError: a picture is there twice for one method and variant, or the baseline is not there.
    """
    names = [column.name for column in columns]
    keyed = table.set_index(KEY)
    if not keyed.index.is_unique:
        raise ValueError("A picture is in the table twice for the same method and variant.")
    pictures = sorted(set(table["picture"]))
    groups = sorted(
        set(zip(table["method"], table["variant"], strict=True)), key=lambda g: (g[0], VARIANTS.index(g[1]))
    )
    if baseline not in groups:
        raise ValueError(f"The baseline {baseline} is not among the methods of the table.")
    base = groups.index(baseline)
    order = pd.MultiIndex.from_tuples([(picture, *group) for picture in pictures for group in groups])
    values = (
        keyed[names].reindex(order).to_numpy(float).reshape(len(pictures), len(groups), len(names))
    )  # (P, G, M)
    correct = _correct(table)

    everywhere = _means(values, resamples, seed)
    paired = _means(values - values[:, [base]], resamples, seed)
    hits = None if correct is None else _means(values[[p in correct for p in pictures]], resamples, seed)
    if set(_ADCC_PARTS) <= set(names):
        columns = [*columns, ADCC_OF_MEANS]
        parts = [names.index(name) for name in _ADCC_PARTS]
        everywhere = _with_adcc(everywhere, parts)
        paired = _with_difference(paired, everywhere, base)
        hits = None if hits is None else _with_adcc(hits, parts)

    scored: list[dict[str, Score]] = [{} for _ in groups]
    for m, column in enumerate(columns):
        scores = values[..., m] if m < len(names) else None
        against = _against(column, scores, paired, m, base)
        ranks, p_best = _ranking(column, scores, everywhere, m, groups)
        for g in range(len(groups)):
            scored[g][column.name] = Score(
                _estimate(everywhere, g, m),
                None if hits is None else _estimate(hits, g, m),
                ranks[g],
                p_best[g],
                against[g],
            )
    maps = table.groupby(KEY[1:])["blank"].agg(["size", "sum"])
    return Summary(
        tuple(columns),
        baseline,
        len(pictures),
        None if correct is None else len(correct),
        resamples,
        seed,
        tuple(
            Row(*group, int(maps["size"][group]), int(maps["sum"][group]), scores)
            for group, scores in zip(groups, scored, strict=True)
        ),
    )


def best_and_worst(
    table: pd.DataFrame, column: Column, method: str, variant: str, count: int = 3
) -> tuple[list[str], list[str]]:
    """The pictures with a method's best scores, best first, and those with its worst, worst first.

    Equal scores are ordered by picture. No picture is in both lists, so that of few pictures fewer are worst.

    Raises:
        ValueError: the metric has no better direction.
    """
    if column.better is None:
        raise ValueError(f"No score of {column.name} is better than another.")
    rows = table[(table["method"] == method) & (table["variant"] == variant)].dropna(subset=column.name)
    ordered = list(
        rows.sort_values("picture")
        .sort_values(column.name, ascending=column.better == "lower", kind="stable")["picture"]
        .astype(object)
    )
    return ordered[:count], ordered[count:][: -count - 1 : -1]


def holm(p: np.ndarray) -> np.ndarray:
    """p values (N,) corrected for N tests by Holm's step-down rule (Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def _correct(table: pd.DataFrame) -> set[str] | None:
    """The pictures that are classified correctly; None where no class is known."""
    known = table["correct"].astype("boolean")
    return set(table.loc[known.fillna(False), "picture"]) if known.notna().any() else None


def _means(values: np.ndarray, resamples: int, seed: int) -> _Means:
    """Means of scores (P, G, M) over pictures, and over the pictures of each resample."""
    pictures, *shape = values.shape
    present = ~np.isnan(values)
    filled = np.where(present, values, 0).reshape(pictures, np.prod(shape))
    counted = present.reshape(pictures, np.prod(shape)).astype(float)
    generator = np.random.default_rng(seed)
    resampled = np.empty((resamples, filled.shape[1]))
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, resamples, _BLOCK):
            drawn = [
                np.bincount(generator.integers(max(1, pictures), size=pictures), minlength=pictures)
                for _ in range(min(_BLOCK, resamples - start))
            ]
            weights = np.array(drawn, float)
            resampled[start : start + _BLOCK] = (weights @ filled) / (weights @ counted)
        n = present.sum(0)
        mean = filled.sum(0).reshape(shape) / n
        squares = (np.where(present, values - mean, 0) ** 2).sum(0)
        deviation = np.sqrt(squares / np.where(n > 1, n - 1, np.nan))
    return _Means(n, mean, deviation, resampled.reshape(resamples, *shape))


def _with_adcc(means: _Means, parts: Sequence[int]) -> _Means:
    """The means with ADCC of the means as one more metric, from where its three parts stand."""
    return _Means(
        _append(means.n, means.n[:, parts].min(1)),
        _append(means.mean, _adcc(*(means.mean[:, part] for part in parts))),
        _append(means.deviation, np.full(len(means.n), np.nan)),
        _append(means.resampled, _adcc(*(means.resampled[..., part] for part in parts))),
    )


def _with_difference(paired: _Means, means: _Means, base: int) -> _Means:
    """The differences with that of the means' last metric as one more."""
    last, resampled = means.mean[:, -1], means.resampled[..., -1]
    return _Means(
        _append(paired.n, np.minimum(means.n[:, -1], means.n[base, -1])),
        _append(paired.mean, last - last[base]),
        _append(paired.deviation, np.full(len(last), np.nan)),
        _append(paired.resampled, resampled - resampled[:, [base]]),
    )


def _append(values: np.ndarray, last: np.ndarray) -> np.ndarray:
    return np.concatenate([values, last[..., None]], -1)


def _adcc(coherency: np.ndarray, complexity: np.ndarray, drop: np.ndarray) -> np.ndarray:
    """3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - average drop)), 0 where a part is (Poppi et al. 2021)."""
    with np.errstate(divide="ignore"):
        return 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))


def _estimate(means: _Means, g: int, m: int) -> Estimate:
    return Estimate(
        int(means.n[g, m]),
        _number(means.mean[g, m]),
        _number(means.deviation[g, m]),
        *_interval(means, g, m),
    )


def _interval(means: _Means, g: int, m: int) -> tuple[float | None, float | None]:
    """The 95% percentile interval of a mean; resamples without any score of it are left out."""
    if means.n[g, m] < 2:
        return None, None
    samples = means.resampled[:, g, m]
    low, high = np.quantile(samples[~np.isnan(samples)], (LEVEL / 2, 1 - LEVEL / 2))
    return float(low), float(high)


def _against(
    column: Column, scores: np.ndarray | None, paired: _Means, m: int, base: int
) -> list[Comparison | None]:
    """Each method against the baseline by one metric, with scores (P, G) where pictures have any."""
    others = [g for g in range(len(paired.n)) if g != base]
    if scores is None:
        p = {g: _wald(paired.mean[g, m], paired.resampled[:, g, m]) for g in others}
    else:
        p = {g: _wilcoxon(scores[:, g] - scores[:, base]) for g in others}
    p = _corrected(p)
    compared: list[Comparison | None] = [None] * len(paired.n)
    for g in others:
        counts: tuple[int | None, int | None, int | None] = (None, None, None)
        if scores is not None and column.better is not None:
            gain = (scores[:, g] - scores[:, base]) * (1 if column.better == "higher" else -1)
            counts = (int((gain > TIE).sum()), int((abs(gain) <= TIE).sum()), int((gain < -TIE).sum()))
        compared[g] = Comparison(
            int(paired.n[g, m]), _number(paired.mean[g, m]), *_interval(paired, g, m), _number(p[g]), *counts
        )
    return compared


def _ranking(
    column: Column, scores: np.ndarray | None, means: _Means, m: int, groups: Sequence[tuple[str, str]]
) -> tuple[list[int | None], list[float | None]]:
    """Rank and p against the best of each method, among the methods of its variant."""
    ranks: list[int | None] = [None] * len(groups)
    p_best: list[float | None] = [None] * len(groups)
    if column.better is None:
        return ranks, p_best
    goodness = means.mean[:, m] * (1 if column.better == "higher" else -1)
    for variant in VARIANTS:
        rivals = [g for g, group in enumerate(groups) if group[1] == variant and not np.isnan(goodness[g])]
        if not rivals:
            continue
        best = max(rivals, key=lambda g: goodness[g])
        p = {}
        for g in rivals:
            ranks[g] = 1 + int((goodness[rivals] > goodness[g] + TIE).sum())
            if g != best:
                p[g] = (
                    _wald(
                        means.mean[g, m] - means.mean[best, m],
                        means.resampled[:, g, m] - means.resampled[:, best, m],
                    )
                    if scores is None
                    else _wilcoxon(scores[:, g] - scores[:, best])
                )
        for g, value in _corrected(p).items():
            p_best[g] = _number(value)
    return ranks, p_best


def _wilcoxon(differences: np.ndarray) -> float:
    """Two-sided p of paired differences (P,); NaN where no pair remains."""
    differences = differences[~np.isnan(differences)]
    differences = np.where(abs(differences) <= TIE, 0, differences)
    if not differences.any():
        return 1.0 if len(differences) else np.nan
    return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)


def _wald(difference: float, resampled: np.ndarray) -> float:
    """Two-sided p of a difference against the deviation of its resamples (R,); NaN where it is undefined."""
    if abs(difference) <= TIE:
        return 1.0
    error = np.nanstd(resampled) if not np.isnan(resampled).all() else np.nan
    with np.errstate(divide="ignore"):
        return float(2 * stats.norm.sf(abs(difference) / error))


def _corrected(p: dict[int, float]) -> dict[int, float]:
    """Holm's correction over the tests that could be made."""
    made = [g for g in p if not np.isnan(p[g])]
    return {**p, **dict(zip(made, holm(np.array([p[g] for g in made])).tolist(), strict=True))}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
