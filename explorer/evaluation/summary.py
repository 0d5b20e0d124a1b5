"""What a table of scores says of the methods: means, how sure they are, and who differs from whom."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

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
    """Scores less the baseline's on the same ``n`` pictures: mean, its 95% bootstrap interval, p.

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
        rank: 1 for the best mean of the methods of the same variant; None without a better direction, and for controls.
        p_best: p of differing from the best of the same variant; None for that one itself, and for controls.
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
    control: bool = False


@dataclass(frozen=True)
class Summary:
    """What ``summarise`` found; rows are sorted by method, plain before calibrated.

    ``pictures`` counts what has scores of its own, ``photographs`` the files: fewer where several classes of one are
    explained.
    """

    columns: tuple[Column, ...]
    baseline: tuple[str, str]
    pictures: int
    photographs: int
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
            content.get("photographs", content["pictures"]),
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
    controls: Collection[str] = (),
    resamples: int = 10000,
    seed: int = 0,
) -> Summary:
    """Compares the methods of a table with one row for each picture, method and variant, in any order.

    Intervals are percentile bootstrap intervals over pictures (Efron and Tibshirani 1993, chapter 13). Every method
    and metric sees the same resampled pictures, so differences stay paired and ADCC can be made of resampled means;
    BCa would correct for skewness, of which a mean over hundreds of pictures keeps next to nothing.
    p values are those of two-sided paired permutation tests of the difference that stands beside them: how often it is
    as large when the two maps of each picture are swapped by chance (Good, Permutation Tests, 2000, chapter 3), in all
    ways where those are at most the resamples. They are corrected for the number of methods compared in the same
    variant (Holm 1979). Several classes of one photograph are resampled and swapped together.

    Args:
        table: the columns picture, method, variant, blank and correct (None where the class is unknown), perhaps
            digest, which several pictures share where they are one photograph, and a float column, as a fraction, for
            every metric; NaN is left out, in comparisons the picture is then left out.
        baseline: (method, variant) with which every other row is compared.
        controls: methods that look at no network. They are measured and compared with the baseline as all others, but
            have no rank: a map that explains nothing is not the best explanation where it games a metric.

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
    rivals = [g for g, (method, _) in enumerate(groups) if method not in controls]
    order = pd.MultiIndex.from_tuples([(picture, *group) for picture in pictures for group in groups])
    values = (
        keyed[names].reindex(order).to_numpy(float).reshape(len(pictures), len(groups), len(names))
    )  # (P, G, M)
    correct = _correct(table)
    units = _photographs(table, pictures)
    hit = np.array([picture in (correct or ()) for picture in pictures])

    everywhere = _means(values, units, resamples, seed)
    paired = _means(values - values[:, [base]], units, resamples, seed)
    hits = None if correct is None else _means(values[hit], units[hit], resamples, seed)
    swaps = _Swaps(units, resamples, seed)
    against_p = swaps.p(values, np.broadcast_to(values[:, [base]], values.shape))
    best = _best(columns, everywhere, groups, rivals)
    best_p = swaps.p(values, np.take_along_axis(values, best[None], 1))
    for column, parts in _adcc_of_means(columns):
        columns = [*columns, column]
        everywhere = _with_adcc(everywhere, parts)
        paired = _with_difference(paired, everywhere, base)
        hits = None if hits is None else _with_adcc(hits, parts)
        best = _best(columns, everywhere, groups, rivals)
        three = values[..., parts]
        against_p = _append(against_p, swaps.p_of_adcc(three, np.broadcast_to(three[:, [base]], three.shape)))
        best_p = _append(best_p, swaps.p_of_adcc(three, three[:, best[:, -1]]))

    scored: list[dict[str, Score]] = [{} for _ in groups]
    for m, column in enumerate(columns):
        scores = values[..., m] if m < len(names) else None
        against = _against(column, scores, paired, against_p[:, m], m, base, groups)
        ranks, p_best = _ranking(column, everywhere, best[:, m], best_p[:, m], m, groups, rivals)
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
        len(set(units.tolist())),
        None if correct is None else len(correct),
        resamples,
        seed,
        tuple(
            Row(*group, int(maps["size"][group]), int(maps["sum"][group]), scores, group[0] in controls)
            for group, scores in zip(groups, scored, strict=True)
        ),
    )


def outdoing(rows: Iterable[Row], column: Column) -> list[Row]:
    """The controls, of rows of one variant, whose mean is better than that of every method."""
    means = [(row, row.scores[column.name].everywhere.mean) for row in rows]
    sign = {"higher": 1, "lower": -1, None: 0}[column.better]
    lead = max((sign * mean for row, mean in means if mean is not None and not row.control), default=math.inf)
    return [row for row, mean in means if mean is not None and row.control and sign * mean > lead + TIE]


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


def _photographs(table: pd.DataFrame, pictures: Sequence[str]) -> np.ndarray:
    """(P,), the number of the photograph that each picture is of, in the order of the first of each."""
    if "digest" not in table:
        return np.arange(len(pictures))
    digests = table.groupby("picture")["digest"].first().loc[list(pictures)]
    return pd.factorize(digests)[0]


def _adcc_of_means(columns: Sequence[Column]) -> Iterator[tuple[Column, list[int]]]:
    """ADCC of the means as a column, and the columns of its parts, for each fill with which these are measured."""
    places = {column.name: place for place, column in enumerate(columns)}
    for column in columns:
        name, *options = column.name.split(":")
        parts = [":".join([part, *options]) for part in ("coherency", "average-drop")]
        if name == "coherency" and {*parts, "complexity"} <= places.keys():
            mean = Column(
                ":".join(["adcc-of-means", *options]),
                column.symbol.replace("Coh", "ADCC of means"),
                "ADCC of the means",
                "higher",
                "3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - average drop)) of the means; "
                + column.definition,
            )
            yield mean, [places[parts[0]], places["complexity"], places[parts[1]]]


class _Swaps:
    """Random swaps of two methods' scores, alike for all pictures of a photograph.

    Args:
        units: (P,), the photograph of each picture.
    """

    def __init__(self, units: np.ndarray, resamples: int, seed: int) -> None:
        self._units, self._resamples, self._seed = units, resamples, seed
        self._count = len(set(units.tolist()))

    def p(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """(G, M), how often the mean difference of scores (P, G, M) is as large; NaN where no picture has both."""
        differences = one - other
        differences[abs(differences) <= TIE] = 0
        sums = self._by_unit(differences)
        found = self._share(lambda signs: signs @ sums).reshape(one.shape[1:])
        return np.where(np.isnan(differences).all(0), np.nan, found)

    def p_of_adcc(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """(G,), the same of the difference of ADCC of the means of three parts (P, G, 3)."""
        usable = ~np.isnan(one + other).any(-1, keepdims=True)
        pictures = np.maximum(usable.sum(0), 1)
        middle = np.where(usable, one + other, 0).sum(0) / 2 / pictures
        halves = self._by_unit(np.where(usable, one - other, 0) / 2 / pictures)

        def difference(signs: np.ndarray) -> np.ndarray:
            half = (signs @ halves).reshape(-1, *middle.shape)
            first, second = (
                _adcc(*np.moveaxis(np.clip(middle + way * half, 0, 1), -1, 0)) for way in (1, -1)
            )
            return np.where(abs(first - second) <= TIE, 0, first - second)

        return np.where(usable.any((0, -1)), self._share(difference), np.nan)

    def _by_unit(self, values: np.ndarray) -> np.ndarray:
        """(U, ...) flattened: sums (P, ...) over the pictures of each photograph, NaN as 0."""
        sums = np.zeros((self._count, int(np.prod(values.shape[1:]))))
        np.add.at(sums, self._units, np.nan_to_num(values).reshape(len(values), -1))
        return sums

    def _share(self, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Of all swaps, how many give a statistic (K,) at least as large as no swap does."""
        observed = abs(statistic(np.ones((1, self._count))))
        hits, swaps = np.zeros(observed.shape[1:]), 0
        for signs in self._signs():
            hits += (abs(statistic(signs)) >= observed * (1 - 1e-9) - 1e-15).sum(0)
            swaps += len(signs)
        return hits / swaps

    def _signs(self) -> Iterator[np.ndarray]:
        """Blocks (B, U) of -1 where the two are swapped, else 1; the first of all is no swap."""
        if 2**self._count <= self._resamples:
            numbers = np.arange(2**self._count)[:, None]
            yield 1.0 - 2 * (numbers >> np.arange(self._count) & 1)
            return
        yield np.ones((1, self._count))
        generator = np.random.default_rng(self._seed)
        for start in range(0, self._resamples, _BLOCK):
            block = (min(_BLOCK, self._resamples - start), self._count)
            yield 1.0 - 2 * generator.integers(2, size=block)


def _means(values: np.ndarray, units: np.ndarray, resamples: int, seed: int) -> _Means:
    """Means of scores (P, G, M) over pictures, and over the pictures of each resample of their photographs (P,)."""
    pictures, *shape = values.shape
    _, units = np.unique(units, return_inverse=True)
    photographs = int(units.max(initial=-1)) + 1
    present = ~np.isnan(values)
    filled = np.where(present, values, 0).reshape(pictures, np.prod(shape))
    counted = present.reshape(pictures, np.prod(shape)).astype(float)
    generator = np.random.default_rng(seed)
    resampled = np.empty((resamples, filled.shape[1]))
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, resamples, _BLOCK):
            drawn = [
                np.bincount(generator.integers(max(1, photographs), size=photographs), minlength=photographs)[
                    units
                ]
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
    column: Column,
    scores: np.ndarray | None,
    paired: _Means,
    p: np.ndarray,
    m: int,
    base: int,
    groups: Sequence[tuple[str, str]],
) -> list[Comparison | None]:
    """Each method against the baseline by one metric, with scores (P, G) where pictures have any, and p (G,)."""
    corrected = _corrected({g: value for g, value in enumerate(p) if g != base}, groups)
    compared: list[Comparison | None] = [None] * len(paired.n)
    for g, value in corrected.items():
        counts: tuple[int | None, int | None, int | None] = (None, None, None)
        if scores is not None and column.better is not None:
            gain = (scores[:, g] - scores[:, base]) * (1 if column.better == "higher" else -1)
            counts = (int((gain > TIE).sum()), int((abs(gain) <= TIE).sum()), int((gain < -TIE).sum()))
        compared[g] = Comparison(
            int(paired.n[g, m]), _number(paired.mean[g, m]), *_interval(paired, g, m), _number(value), *counts
        )
    return compared


def _best(
    columns: Sequence[Column], means: _Means, groups: Sequence[tuple[str, str]], rivals: Sequence[int]
) -> np.ndarray:
    """(G, M), the best of the rivals in the variant of each; each itself where there is none."""
    best = np.repeat(np.arange(len(groups))[:, None], len(columns), 1)
    for m, column in enumerate(columns):
        goodness = means.mean[:, m] * (1 if column.better == "higher" else -1)
        for variant in VARIANTS:
            of = [g for g, group in enumerate(groups) if group[1] == variant]
            known = [g for g in of if g in rivals and column.better is not None and not np.isnan(goodness[g])]
            if known:
                best[of, m] = max(known, key=lambda g: goodness[g])
    return best


def _ranking(
    column: Column,
    means: _Means,
    best: np.ndarray,
    p: np.ndarray,
    m: int,
    groups: Sequence[tuple[str, str]],
    rivals: Sequence[int],
) -> tuple[list[int | None], list[float | None]]:
    """Rank and p against the best of each rival, among those of its variant."""
    ranks: list[int | None] = [None] * len(groups)
    p_best: list[float | None] = [None] * len(groups)
    if column.better is None:
        return ranks, p_best
    goodness = means.mean[:, m] * (1 if column.better == "higher" else -1)
    ranked = [g for g in rivals if not np.isnan(goodness[g])]
    for g in ranked:
        others = [other for other in ranked if groups[other][1] == groups[g][1]]
        ranks[g] = 1 + int((goodness[others] > goodness[g] + TIE).sum())
    for g, value in _corrected({g: p[g] for g in ranked if g != best[g]}, groups).items():
        p_best[g] = _number(value)
    return ranks, p_best


def _corrected(p: Mapping[int, float], groups: Sequence[tuple[str, str]]) -> dict[int, float]:
    """Holm's correction over the tests of each variant that could be made."""
    found = dict(p)
    for variant in VARIANTS:
        made = [g for g in p if groups[g][1] == variant and not np.isnan(p[g])]
        found |= zip(made, holm(np.array([p[g] for g in made])).tolist(), strict=True)
    return found


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
