"""Means, intervals, tests and tables of an evaluation against scipy and known answers.

A generator of the same seed draws the same pictures in scipy.stats.bootstrap, so intervals agree to the last digits.
"""

import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from explorer.evaluation import (
    Column,
    Summary,
    as_markdown,
    as_table,
    best_and_worst,
    read_csv,
    summarise,
    write_csv,
    write_parquet,
)
from explorer.evaluation.summary import holm, outdoing

HIGH = Column("insertion", "Ins", "Insertion", "higher", "area under the curve")
LOW = Column("average-drop", "AD", "Average drop", "lower", "soft mask")
MEAN = Column("map-mean", "Mean", "Map mean", None, "mean of the map")
COHERENCY = Column("coherency", "Coh", "Coherency", "higher", "")
COMPLEXITY = Column("complexity", "Com", "Complexity", "lower", "")
BASE = ("grad-cam", "plain")


def table_of(scores, column=HIGH, variant="plain", **fields):
    """A table of one metric: scores by method, a value for each picture."""
    return as_table(
        {
            "picture": f"p{position:04d}",
            "digest": f"{position}",
            "label": None,
            "target": 1,
            "probability": 0.5,
            "correct": None,
            "method": method,
            "variant": variant,
            "blank": False,
            "cut": None,
            column.name: value,
            **fields,
        }
        for method, values in scores.items()
        for position, value in enumerate(values)
    )


def row(summary, method, variant="plain"):
    [found] = [row for row in summary.rows if (row.method, row.variant) == (method, variant)]
    return found


@pytest.fixture(scope="module")
def draws():
    generator = np.random.default_rng(7)
    base = generator.beta(2, 3, 120)
    return {
        "grad-cam": base,
        "libra-cam": np.clip(base + generator.normal(0.05, 0.1, 120), 0, 1),
        "random": generator.beta(2, 4, 120),
    }


def swapped(one, other):
    """p of scipy's paired permutation test of the mean difference, of all swaps where those are few."""
    return stats.permutation_test(
        (one, other),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20000,
        rng=1,
    ).pvalue


def test_estimates_are_those_of_numpy_and_scipy(draws):
    summary = summarise(table_of(draws), [HIGH], BASE)
    for method, values in draws.items():
        found = row(summary, method).scores["insertion"].everywhere
        assert found.n == 120
        assert found.mean == pytest.approx(values.mean(), abs=1e-12)
        assert found.deviation == pytest.approx(values.std(ddof=1), abs=1e-12)
        oracle = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10000, rng=0)
        assert found.low == pytest.approx(oracle.confidence_interval.low, abs=1e-9)
        assert found.high == pytest.approx(oracle.confidence_interval.high, abs=1e-9)


def test_comparison_is_paired_and_that_of_scipy(draws):
    summary = summarise(table_of(draws), [HIGH], BASE)
    difference = draws["libra-cam"] - draws["grad-cam"]
    found = row(summary, "libra-cam").scores["insertion"].against
    assert found.difference == pytest.approx(difference.mean(), abs=1e-12)
    oracle = stats.bootstrap((difference,), np.mean, method="percentile", n_resamples=10000, rng=0)
    assert found.low == pytest.approx(oracle.confidence_interval.low, abs=1e-9)
    assert found.high == pytest.approx(oracle.confidence_interval.high, abs=1e-9)
    p = [swapped(draws[m], draws["grad-cam"]) for m in ("libra-cam", "random")]
    smaller = min(p)
    expected = 2 * smaller if p[0] == smaller else max(2 * smaller, p[0])
    assert found.p == pytest.approx(expected, abs=0.01)
    assert (found.won, found.tied, found.lost) == (
        sum(difference > 1e-5),
        sum(abs(difference) <= 1e-5),
        sum(difference < -1e-5),
    )
    assert row(summary, "grad-cam").scores["insertion"].against is None


def test_a_constant_advantage_is_certain(draws):
    scores = {"grad-cam": draws["grad-cam"], "libra-cam": draws["grad-cam"] + 0.125}
    for column, best, won in ((HIGH, "libra-cam", 120), (LOW, "grad-cam", 0)):
        summary = summarise(table_of(scores, column), [column], BASE)
        score = row(summary, "libra-cam").scores[column.name]
        assert (score.against.low, score.against.high) == pytest.approx((0.125, 0.125))
        assert (score.against.won, score.against.tied, score.against.lost) == (won, 0, 120 - won)
        assert score.against.p == pytest.approx(1 / 10001)  # no random swap makes as much
        assert row(summary, best).scores[column.name].best
        [other] = {"grad-cam", "libra-cam"} - {best}
        assert row(summary, other).scores[column.name].rank == 2
        assert not row(summary, other).scores[column.name].level


def test_methods_that_differ_by_rounding_tie(draws):
    noise = np.random.default_rng(0).uniform(0, 1e-6, 120)
    scores = {"grad-cam": draws["grad-cam"], "xgrad-cam": draws["grad-cam"] + noise}
    summary = summarise(table_of(scores), [HIGH], BASE)
    score = row(summary, "xgrad-cam").scores["insertion"]
    assert (score.against.p, score.against.won, score.against.tied, score.against.lost) == (1, 0, 120, 0)
    assert [row(summary, method).scores["insertion"].rank for method in scores] == [1, 1]


def test_of_few_pictures_all_swaps_are_made(draws):
    scores = {method: values[:11] for method, values in draws.items()}
    summary = summarise(table_of(scores), [HIGH], BASE)
    p = np.array([swapped(scores[m], scores["grad-cam"]) for m in ("libra-cam", "random")])
    for method, expected in zip(("libra-cam", "random"), holm(p), strict=True):
        assert row(summary, method).scores["insertion"].against.p == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("wins", "expected"), [(4, 2 / 2**4), (5, 2 / 2**5), (0, 1)])
def test_ties_prove_nothing(wins, expected):
    """As in McNemar's exact test: each picture that is won could as well be lost."""
    increased = np.array([1.0] * wins + [0.0] * (13 - wins))
    score = row(summarise(table_of({"grad-cam": np.zeros(13), "cam": increased}), [HIGH], BASE), "cam").scores
    assert score["insertion"].against.p == pytest.approx(expected)


def test_the_mark_is_of_the_difference_that_is_shown():
    """A method that loses on most pictures by little and wins on few by much is better in the mean, not surely so."""
    difference = np.array([-0.01] * 90 + [0.5] * 10)
    found = row(summarise(table_of({"grad-cam": 0 * difference, "cam": difference}), [HIGH], BASE), "cam")
    against = found.scores["insertion"].against
    assert (against.won, against.lost) == (10, 90)
    assert against.difference > 0
    assert against.p == pytest.approx(swapped(difference, 0 * difference), abs=0.01)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_pictures_prove_nothing(draws, count):
    table, _ = adcc_table()
    table = table[table["picture"] < f"p{count:04d}"]
    scores = row(summarise(table, [COHERENCY, COMPLEXITY, LOW], BASE), "libra-cam").scores
    for score in scores.values():
        assert score.against.p >= 2 / 2**count
        assert score.best or score.level


def test_several_classes_of_a_photograph_are_one_witness(draws):
    """Three classes of each of twenty photographs that all say the same prove no more than one."""
    once = {method: values[:20] for method, values in draws.items()}
    one = table_of(once)
    three = pd.concat([one.assign(picture=one["picture"] + f" ({target})") for target in range(3)])
    single, several = (summarise(table, [HIGH], BASE) for table in (one, three))
    assert (several.pictures, several.photographs) == (60, 20)
    for method in once:
        first, second = (row(summary, method).scores["insertion"] for summary in (single, several))
        assert second.everywhere.n == 60
        assert second.everywhere.mean == pytest.approx(first.everywhere.mean)
        interval = (first.everywhere.low, first.everywhere.high)
        assert (second.everywhere.low, second.everywhere.high) == pytest.approx(interval)
        if first.against:
            assert second.against.p == pytest.approx(first.against.p)


@pytest.mark.parametrize("column", [HIGH, LOW])
def test_the_best_and_the_baseline_say_the_same(draws, column):
    table = pd.concat([table_of(draws, column), table_of(draws, column, "calibrated")])
    scores = {m: row(summarise(table, [column], BASE), m).scores[column.name] for m in draws}
    [best] = [method for method in draws if scores[method].best]
    summary = summarise(table, [column], (best, "plain"))
    for method in set(draws) - {best}:
        score = row(summary, method).scores[column.name]
        assert score.against.p == score.p_best == scores[method].p_best


def test_holm():
    # By hand: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which may not fall below 0.06.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.5, 0.9])).tolist() == [1, 1]


def test_what_is_undefined_is_left_out(draws):
    values = {method: scores.copy() for method, scores in draws.items()}
    values["grad-cam"][:10] = np.nan
    values["libra-cam"][5:30] = np.nan
    values["random"][:] = np.nan
    summary = summarise(table_of(values), [HIGH], BASE)
    score = row(summary, "libra-cam").scores["insertion"]
    assert (score.everywhere.n, score.against.n) == (95, 90)
    assert score.everywhere.mean == pytest.approx(np.nanmean(values["libra-cam"]))
    assert score.against.difference == pytest.approx(np.nanmean(values["libra-cam"] - values["grad-cam"]))
    assert score.against.won + score.against.tied + score.against.lost == 90
    generator = np.random.default_rng(0)
    resampled = [
        np.nanmean(values["libra-cam"][generator.integers(120, size=120)]) for _ in range(summary.resamples)
    ]
    interval = (score.everywhere.low, score.everywhere.high)
    assert interval == pytest.approx(tuple(np.quantile(resampled, (0.025, 0.975))), abs=1e-9)
    nothing = row(summary, "random").scores["insertion"]
    assert (nothing.everywhere.n, nothing.everywhere.mean, nothing.everywhere.low) == (0, None, None)
    assert (nothing.against.n, nothing.against.difference, nothing.against.p) == (0, None, None)
    assert (nothing.rank, nothing.best, nothing.level) == (None, False, False)
    # One method that cannot be tested is not counted by Holm.
    shared = ~np.isnan(values["libra-cam"] - values["grad-cam"])
    alone = swapped(values["libra-cam"][shared], values["grad-cam"][shared])
    assert score.against.p == pytest.approx(alone, abs=0.01)
    json.dumps(summary.as_dict(), allow_nan=False)


def test_a_row_that_is_missing_is_undefined(draws):
    table = table_of(draws)
    short = table[~((table["method"] == "random") & (table["picture"] < "p0020"))]
    assert row(summarise(short, [HIGH], BASE), "random").scores["insertion"].everywhere.n == 100


def test_one_picture_has_no_interval():
    summary = summarise(table_of({"grad-cam": [0.25], "cam": [0.5]}), [HIGH], BASE)
    found = row(summary, "cam").scores["insertion"].everywhere
    assert (found.n, found.mean, found.deviation, found.low, found.high) == (1, 0.5, None, None, None)


def test_a_figure_that_only_describes_is_not_ranked(draws):
    score = row(summarise(table_of(draws, MEAN), [MEAN], BASE), "random").scores["map-mean"]
    assert (score.rank, score.p_best, score.against.won) == (None, None, None)
    assert 0 <= score.against.p <= 1


def test_plain_and_calibrated_maps_are_ranked_apart(draws):
    better = {method: values + 0.5 for method, values in draws.items()}
    both = pd.concat([table_of(draws), table_of(better, variant="calibrated")])
    summary = summarise(both, [HIGH], BASE)
    for variant in ("plain", "calibrated"):
        means = {m: row(summary, m, variant).scores["insertion"].everywhere.mean for m in draws}
        ranks = {m: row(summary, m, variant).scores["insertion"].rank for m in draws}
        assert sorted(ranks, key=ranks.get) == sorted(means, key=means.get, reverse=True)
        assert sorted(ranks.values()) == [1, 2, 3]


def test_p_against_the_best_is_corrected_among_its_rivals(draws):
    summary = summarise(table_of(draws), [HIGH], BASE)
    p = [swapped(draws["libra-cam"], draws[m]) for m in ("grad-cam", "random")]
    corrected = dict(zip(("grad-cam", "random"), holm(np.array(p)), strict=True))
    assert row(summary, "libra-cam").scores["insertion"].p_best is None
    for method, expected in corrected.items():
        assert row(summary, method).scores["insertion"].p_best == pytest.approx(expected, abs=0.01)


def test_controls_are_measured_but_not_ranked(draws):
    """The methods are ranked as if no control were there, however good that one is."""
    gamed = {**draws, "fake-cam": 0.9 + 0 * draws["random"]}
    columns = [HIGH, LOW]
    table = table_of(gamed).assign(**{"average-drop": lambda rows: 1 - rows["insertion"]})
    without = table[~table["method"].isin(["fake-cam", "random"])]
    summary = summarise(table, columns, BASE, controls=["fake-cam", "random"])
    expected = summarise(without, columns, BASE)
    for column in columns:
        for method in ("grad-cam", "libra-cam"):
            score, alone = (row(one, method).scores[column.name] for one in (summary, expected))
            assert (score.rank, score.p_best, score.best) == (alone.rank, alone.p_best, alone.best)
        for method in ("fake-cam", "random"):
            score = row(summary, method).scores[column.name]
            assert (score.rank, score.p_best, score.best, score.level) == (None, None, False, False)
            assert score.everywhere.n == score.against.n == 120
        assert outdoing(summary.rows, column) == [row(summary, "fake-cam")]
        assert outdoing(expected.rows, column) == []
    assert outdoing(summary.rows, replace(LOW, name="insertion")) == [row(summary, "random")]
    document = json.loads(json.dumps(summary.as_dict()))
    assert Summary.from_dict(document) == summary
    for one in document["rows"]:
        del one["control"]  # as it was written before there was one
    assert not any(one.control for one in Summary.from_dict(document).rows)


def test_adcc_of_means_is_not_ranked_for_controls_either():
    table, _ = adcc_table()
    perfect = table[table["method"] == "grad-cam"].assign(
        method="fake-cam", **{"coherency": 1.0, "complexity": 0.0, "average-drop": 0.0}
    )
    columns = [COHERENCY, COMPLEXITY, LOW]
    summary = summarise(pd.concat([table, perfect]), columns, BASE, controls=["fake-cam"])
    for method in ("grad-cam", "libra-cam"):
        score, alone = (
            row(one, method).scores["adcc-of-means"] for one in (summary, summarise(table, columns, BASE))
        )
        assert (score.rank, score.p_best) == (alone.rank, alone.p_best)
    assert row(summary, "fake-cam").scores["adcc-of-means"].everywhere.mean == 1
    assert row(summary, "fake-cam").scores["adcc-of-means"].rank is None


def adcc_table():
    generator = np.random.default_rng(3)
    parts = {}
    for method, quality in (("grad-cam", 0.4), ("libra-cam", 0.6)):
        parts[method] = {
            "coherency": generator.beta(8 * quality, 3, 80),
            "complexity": generator.beta(3, 8 * quality, 80),
            "average-drop": generator.beta(2, 8 * quality, 80),
        }
    tables = [
        table_of({method: values["coherency"]}, COHERENCY).assign(**values)
        for method, values in parts.items()
    ]
    return pd.concat(tables), parts


def test_adcc_of_means_and_its_interval():
    table, parts = adcc_table()
    summary = summarise(table, [COHERENCY, COMPLEXITY, LOW], BASE)

    def adcc(coherency, complexity, drop, axis=-1):
        means = [coherency.mean(axis), 1 - complexity.mean(axis), 1 - drop.mean(axis)]
        return stats.hmean(means, axis=0)

    for method, values in parts.items():
        found = row(summary, method).scores["adcc-of-means"]
        data = tuple(values.values())
        assert found.everywhere.mean == pytest.approx(adcc(*data), abs=1e-12)
        oracle = stats.bootstrap(
            data, adcc, paired=True, vectorized=True, method="percentile", n_resamples=10000, rng=0
        )
        low, high = oracle.confidence_interval
        assert found.everywhere.low == pytest.approx(low, abs=1e-9)
        assert found.everywhere.high == pytest.approx(high, abs=1e-9)
        assert found.everywhere.deviation is None
    against = row(summary, "libra-cam").scores["adcc-of-means"].against
    both = (*parts["libra-cam"].values(), *parts["grad-cam"].values())
    oracle = stats.bootstrap(
        both,
        lambda a, b, c, d, e, f, axis=-1: adcc(a, b, c, axis) - adcc(d, e, f, axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10000,
        rng=0,
    )
    difference = adcc(*both[:3]) - adcc(*both[3:])
    assert against.difference == pytest.approx(difference, abs=1e-12)
    low, high = oracle.confidence_interval
    assert (against.low, against.high) == pytest.approx((low, high), abs=1e-9)
    assert against.won is None
    assert against.p == pytest.approx(1 / 10001)


@pytest.mark.parametrize("base", ["grad-cam", "libra-cam"])
def test_adcc_of_means_is_tested_by_swapping_the_maps(base):
    table, parts = adcc_table()
    table = table[table["picture"] < "p0009"]
    summary = summarise(table, [COHERENCY, COMPLEXITY, LOW], (base, "plain"))
    [other] = {"grad-cam", "libra-cam"} - {base}
    values = np.array(
        [np.stack(list(parts[method].values()), -1)[:9] for method in (other, base)]
    )  # (2, 9, 3)
    differences = []
    for swap in itertools.product((0, 1), repeat=9):
        chosen = [[values[(one + flip) % 2, picture] for picture, flip in enumerate(swap)] for one in (0, 1)]
        coherency, complexity, drop = np.mean(chosen, 1).T
        adcc = 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))
        differences.append(abs(adcc[0] - adcc[1]))
    expected = np.mean(np.array(differences) >= differences[0] - 1e-12)
    assert row(summary, other).scores["adcc-of-means"].against.p == pytest.approx(expected, rel=1e-9)
    [loser] = [m for m in parts if not row(summary, m).scores["adcc-of-means"].best]
    assert row(summary, loser).scores["adcc-of-means"].p_best == pytest.approx(expected, rel=1e-9)


def test_adcc_of_means_of_each_fill():
    table, parts = adcc_table()
    names = {"coherency": "coherency:fill=black", "average-drop": "average-drop:fill=black"}
    columns = [COMPLEXITY, *(replace(one, name=names[one.name]) for one in (COHERENCY, LOW))]
    summary = summarise(table.rename(columns=names), columns, BASE)
    [found] = [column for column in summary.columns if column.name not in {one.name for one in columns}]
    assert found.name == "adcc-of-means:fill=black"
    means = [values.mean() for values in parts["libra-cam"].values()]
    expected = stats.hmean([means[0], 1 - means[1], 1 - means[2]])
    score = row(summary, "libra-cam").scores[found.name]
    assert score.everywhere.mean == pytest.approx(expected)


def test_adcc_of_means_of_the_pictures_that_are_classified_correctly():
    table, parts = adcc_table()
    table["correct"] = (table["picture"] < "p0030").astype("boolean")
    found = row(summarise(table, [COHERENCY, COMPLEXITY, LOW], BASE), "libra-cam").scores["adcc-of-means"]
    coherency, complexity, drop = (values[:30].mean() for values in parts["libra-cam"].values())
    assert found.correct.mean == pytest.approx(stats.hmean([coherency, 1 - complexity, 1 - drop]))


def test_adcc_of_means_where_a_part_is_missing():
    table, _ = adcc_table()
    table.loc[(table["method"] == "libra-cam") & (table["picture"] < "p0012"), "coherency"] = np.nan
    found = row(summarise(table, [COHERENCY, COMPLEXITY, LOW], BASE), "libra-cam").scores["adcc-of-means"]
    assert (found.everywhere.n, found.against.n) == (68, 68)


def test_adcc_of_perfect_and_of_useless_maps():
    table = table_of({"grad-cam": [1.0, 1.0], "random": [1.0, 1.0]}, COHERENCY)
    table["complexity"], table["average-drop"] = 0.0, [0.0, 0.0, 1.0, 1.0]
    summary = summarise(table, [COHERENCY, COMPLEXITY, LOW], BASE)
    assert row(summary, "grad-cam").scores["adcc-of-means"].everywhere.mean == 1
    assert row(summary, "random").scores["adcc-of-means"].everywhere.mean == 0
    assert "adcc-of-means" not in row(summarise(table, [COHERENCY, LOW], BASE), "random").scores


def test_pictures_that_are_classified_correctly(draws):
    table = table_of(draws)
    correct = {f"p{position:04d}": [True, False, None][position % 3] for position in range(120)}
    table["correct"] = table["picture"].map(correct).astype("boolean")
    summary = summarise(table, [HIGH], BASE)
    found = row(summary, "random").scores["insertion"].correct
    assert summary.correct == found.n == 40
    assert found.mean == pytest.approx(draws["random"][::3].mean())
    assert found.low < found.mean < found.high
    unknown = summarise(table_of(draws), [HIGH], BASE)
    assert unknown.correct is None
    assert row(unknown, "random").scores["insertion"].correct is None


def test_blank_maps_are_counted(draws):
    table = table_of(draws)
    table.loc[(table["method"] == "random") & (table["picture"] < "p0007"), "blank"] = True
    summary = summarise(table, [HIGH], BASE)
    assert [(r.method, r.pictures, r.blank) for r in summary.rows] == [
        ("grad-cam", 120, 0),
        ("libra-cam", 120, 0),
        ("random", 120, 7),
    ]


def test_the_order_of_the_rows_does_not_matter():
    table, _ = adcc_table()
    columns = [COHERENCY, COMPLEXITY, LOW]
    summary = summarise(table, columns, BASE)
    assert summarise(table.sample(frac=1, random_state=4), columns, BASE) == summary
    assert summarise(table, columns, BASE, seed=1) != replace(summary, seed=1)


def test_refusals(draws):
    table = table_of(draws)
    with pytest.raises(ValueError, match="twice"):
        summarise(pd.concat([table, table.head(1)]), [HIGH], BASE)
    with pytest.raises(ValueError, match="baseline"):
        summarise(table, [HIGH], ("cam", "plain"))
    with pytest.raises(ValueError, match="map-mean"):
        best_and_worst(table, MEAN, "random", "plain")


def test_best_and_worst():
    scores = {"cam": [0.5, 0.9, np.nan, 0.1, 0.9, 0.3], "random": [1, 0, 0, 0, 0, 0]}
    for table in (table_of(scores), table_of(scores).iloc[::-1]):
        assert best_and_worst(table, HIGH, "cam", "plain", 2) == (["p0001", "p0004"], ["p0003", "p0005"])
        assert best_and_worst(table, HIGH, "cam", "plain", 4) == (
            ["p0001", "p0004", "p0000", "p0005"],
            ["p0003"],
        )
    table = table_of(scores, LOW)
    assert best_and_worst(table, LOW, "cam", "plain", 2) == (["p0003", "p0005"], ["p0004", "p0001"])


def test_files_read_back_equal(tmp_path):
    generator = np.random.default_rng(0)
    names = [
        "NA",
        "nan",
        "a,b.jpg",
        'say "x"\n2.jpg',
        "ünïcode 图.png",
        "1e5",
        "True",
        " blank ",
        "=1+1",
        "\r.jpg",
    ]
    values = [np.nan, 0.1 + 0.2, 5e-324, np.nextafter(1, 0), -0.0, 1e-5, *generator.random(4)]
    table = table_of({"cam": values}).assign(picture=names)
    table["label"] = pd.array([3, None] * 5, dtype="Int64")
    table["correct"] = pd.array([True, None, False, None, True] * 2, dtype="boolean")
    table["cut"] = pd.array([None, 40] * 5, dtype="Int64")
    write_csv(table, tmp_path / "scores.csv")
    back = read_csv(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(back, table, check_exact=True)
    assert np.array_equal(back["insertion"].to_numpy().view("i8"), table["insertion"].to_numpy().view("i8"))
    write_parquet(table, tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), table, check_exact=True)


def test_markdown():
    base = np.linspace(0.2, 0.6, 40)
    wobble = np.random.default_rng(1).normal(0, 0.01, 40)
    wobble += 0.0006 - wobble.mean()
    scores = {"grad-cam": base, "libra-cam": base + 0.3, "cam": base + 0.3 - wobble, "none": base * np.nan}
    table = table_of(scores)
    table.loc[0, "blank"] = True
    methods = {"libra-cam": "Libra-CAM", "grad-cam": "Grad-CAM", "cam": "CAM", "none": "None"}
    summary = summarise(table, [HIGH], BASE)
    half = 100 * 1.96 * base.std(ddof=1) / np.sqrt(40)
    lines = as_markdown(summary, methods, ["insertion"]).splitlines()
    assert lines[:2] == ["| Method | Map | Ins ↑ | Blank |", "| --- | --- | ---: | ---: |"]
    assert half == pytest.approx(3.7, abs=0.1)
    assert [line.split(" ± ")[0] for line in lines[2:5]] == [
        "| Libra-CAM | plain | **70.0",
        "| Grad-CAM | plain | 40.0",
        "| CAM | plain | *69.9",
    ]
    assert float(lines[3].split(" ± ")[1].split(" ")[0]) == pytest.approx(half, abs=0.2)
    assert lines[3].endswith(" | 1 |")
    assert lines[5] == "| None | plain | – | 0 |"
