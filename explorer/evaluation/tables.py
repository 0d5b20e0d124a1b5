"""Tables of scores as files that read back the same, and a summary as the table of a paper."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from explorer.evaluation.summary import VARIANTS, Column, Score, Summary

ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
# Whole numbers and answers that may be missing need pandas' nullable types; all other columns are scores.
_TYPES = {
    "picture": "str",
    "digest": "str",
    "label": "Int64",
    "target": "int64",
    "probability": "float64",
    "correct": "boolean",
    "method": "str",
    "variant": "str",
    "blank": "bool",
    "cut": "Int64",
}


def as_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each picture, method and variant, typed; every further column is a float score, None is NaN."""
    table = pd.DataFrame(list(rows))
    return table.astype({name: _TYPES.get(name, "float64") for name in table.columns})


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Every float as the shortest text that reads back as the same float; texts are quoted, for the sake of \\r."""
    table.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n", encoding="utf-8")


def read_csv(path: Path) -> pd.DataFrame:
    """The table that ``write_csv`` wrote, with equal values and types; a picture may be called NA."""
    names = pd.read_csv(path, nrows=0, encoding="utf-8").columns
    types = {name: _TYPES.get(name, "float64") for name in names}
    return pd.read_csv(
        path,
        dtype=types,
        keep_default_na=False,
        na_values={name: [""] for name, kind in types.items() if kind != "str"},
        encoding="utf-8",
    )


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """The same table for other tools, with its types."""
    table.to_parquet(path, index=False, engine="pyarrow")


def as_markdown(summary: Summary, methods: Mapping[str, str], metrics: Sequence[str]) -> str:
    """The means in percent, with half the width of their 95% interval, as a table in Markdown.

    The best method of each variant is bold; what is not significantly different from it is in italics; controls are
    neither.

    Args:
        methods: titles by registered name, in the order of the rows.
        metrics: names of the columns wanted, in their order.
    """
    by_name = {column.name: column for column in summary.columns}
    columns = [by_name[name] for name in metrics]
    head = ["Method", "Map", *(heading(column) for column in columns), "Blank"]
    lines = [head, ["---", "---", *["---:"] * (len(columns) + 1)]]
    found = {(row.method, row.variant): row for row in summary.rows}
    for variant in VARIANTS:
        for method, title in methods.items():
            if row := found.get((method, variant)):
                cells = [_cell(row.scores[column.name]) for column in columns]
                lines.append([title, variant, *cells, str(row.blank)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def outdone(metrics: Sequence[str]) -> str:
    """A sentence on the metrics, by title, by which a control is better than every method; empty without any."""
    if not metrics:
        return ""
    return (
        f"A control, which looks at no network, has a better mean than every method by: {', '.join(metrics)}."
    )


def heading(column: Column) -> str:
    """The symbol with the arrow of its better direction."""
    return column.symbol + ARROWS[column.better]


def percent(value: float) -> str:
    """A fraction in percent with one decimal and a true minus sign."""
    return f"{100 * value:.1f}".replace("-0.0", "0.0").replace("-", "−")


def spread(score: Score) -> str:
    """Half the width of the mean's interval, in percent; empty where there is none."""
    estimate = score.everywhere
    if estimate.low is None or estimate.high is None:
        return ""
    return f"± {percent((estimate.high - estimate.low) / 2)}"


def _cell(score: Score) -> str:
    if score.everywhere.mean is None:
        return "–"
    text = f"{percent(score.everywhere.mean)} {spread(score)}".strip()
    if score.best:
        return f"**{text}**"
    return f"*{text}*" if score.level else text
