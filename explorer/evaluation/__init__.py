"""Whole data sets evaluated: how faithful each method's maps are, and how sure that is."""

from explorer.evaluation.pace import Pace, duration
from explorer.evaluation.regions import boxes_seen, region
from explorer.evaluation.run import Configuration, EvaluationError, Outcome, describe, evaluate, passes
from explorer.evaluation.summary import (
    Column,
    Comparison,
    Estimate,
    Row,
    Score,
    Summary,
    best_and_worst,
    summarise,
)
from explorer.evaluation.tables import as_markdown, as_table, read_csv, write_csv, write_parquet

__all__ = [
    "Column",
    "Comparison",
    "Configuration",
    "Estimate",
    "EvaluationError",
    "Outcome",
    "Pace",
    "Row",
    "Score",
    "Summary",
    "as_markdown",
    "as_table",
    "best_and_worst",
    "boxes_seen",
    "describe",
    "duration",
    "evaluate",
    "passes",
    "read_csv",
    "region",
    "summarise",
    "write_csv",
    "write_parquet",
]
