"""What an evaluation leaves on disk: tables, summary, report."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pandas import DataFrame

from explorer.compute import Engine, Progress
from explorer.dataset import Entry
from explorer.evaluation import (
    Column,
    Configuration,
    Outcome,
    as_markdown,
    as_table,
    best_and_worst,
    summarise,
    write_csv,
    write_parquet,
)
from explorer.images import load
from explorer.render.manifest import as_json
from explorer.render.overlay import jpeg, overlay
from explorer.render.report import Example, report

_LONGEST = 240
_SHOWN = ("adcc", "average-gain", "average-drop")


def write_results(
    engine: Engine,
    entries: Sequence[Entry],
    configuration: Configuration,
    outcome: Outcome,
    baseline: str,
    folder: Path,
    within: Progress | None = None,
) -> None:
    """Writes ``pictures.csv`` and ``pictures.parquet`` (a row for each picture, method and variant), ``summary.json``,
    ``table.md`` and ``report.html``. The same evaluation gives the same bytes.

    Args:
        baseline: the method with whose plain maps all others are compared.
        within: told how the work on the examples of the report goes; may raise to stop.
    """
    table = as_table(outcome.records)
    columns = [
        Column(str(metric), metric.symbol + metric.qualifier, metric.title, metric.better, metric.describe())
        for metric in configuration.metrics
    ]
    methods = {str(method): method.title + method.qualifier for method in configuration.methods}
    summary = summarise(table, columns, (baseline, "plain"))
    document = {"evaluation": outcome.description, "left_out": outcome.skipped, **summary.as_dict()}
    by_name = {column.name: column for column in columns if column.better is not None}
    column = next((by_name[name] for name in _SHOWN if name in by_name), next(iter(by_name.values()), None))
    examples = _examples(engine, entries, configuration, table, column, within) if column else {}
    text = report(summary, table, methods, _about(outcome.description), examples)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        whole = Path(place)
        write_csv(table, whole / "pictures.csv")
        write_parquet(table, whole / "pictures.parquet")
        (whole / "summary.json").write_text(as_json(document) + "\n", "utf-8")
        names = [column.name for column in summary.columns]
        (whole / "table.md").write_text(as_markdown(summary, methods, names), "utf-8")
        (whole / "report.html").write_text(text, "utf-8")
        for path in whole.iterdir():
            path.replace(folder / path.name)


def _examples(
    engine: Engine,
    entries: Sequence[Entry],
    configuration: Configuration,
    table: DataFrame,
    column: Column,
    within: Progress | None,
) -> dict[tuple[str, str], list[Example]]:
    """The plain maps of the pictures with each method's best and worst scores, made once more."""
    files = {entry.identifier: entry.path for entry in entries}
    scores = table[table["variant"] == "plain"].set_index(["method", "picture"])[["target", column.name]]
    found: dict[tuple[str, str], list[Example]] = {}
    for number, method in enumerate(configuration.methods):
        best, worst = best_and_worst(table, column, str(method), "plain")
        for name in (*best, *worst):
            target, score = scores.loc[(str(method), name)]
            picture = load(files.get(name) or files[name.removesuffix(f" ({int(target)})")])
            explanation = engine.explain(picture, configuration.requests(int(target))[number], within)
            drawn = overlay(picture, explanation.attribution.saliency.numpy(), explanation.box)
            caption = f"{name}: {explanation.label}, {column.symbol} {100 * score:.1f}"
            found.setdefault((str(method), "plain"), []).append(
                (caption, jpeg(drawn, _LONGEST), name in best)
            )
    return found


def _about(description: dict[str, Any]) -> dict[str, str]:
    """What was evaluated, by heading."""
    shape = " x ".join(map(str, description["layer_shape"]))
    library = description["library"]
    facts = {
        "Backbone": f"{description['backbone']}, weights {description['weights_sha256'][:16]}",
        "Layer": f"{description['layer']} ({shape})",
        "Pictures": f"{description['pictures']}, {description['pictures_sha256'][:16]}",
        "Explained class": f"the {description['classes']} class",
        "Calibration": "for every method alike: of ten levels of area removed, the one of highest probability",
        "Blank maps": "are measured as maps that keep nothing",
    }
    if library:
        facts["Reference library"] = (
            f"{library['name']}, {library['records']} records, {library['source']}, "
            f"{library['fingerprint'][:16]}; rule {library['rule']}, seed {library['seed']}"
        )
    facts["Methods"] = "; ".join(
        f"{name.partition(':')[0]} ({', '.join(f'{option} {value}' for option, value in options.items())})"
        for name, options in description["methods"].items()
        if options
    )
    facts["Versions"] = ", ".join(f"{name} {number}" for name, number in description["versions"].items())
    return facts
