"""What an evaluation leaves on disk: tables, summary, report."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock
from pandas import DataFrame

from explorer.compute import Engine, Progress
from explorer.dataset import Entry
from explorer.evaluation import (
    Column,
    Configuration,
    Outcome,
    Summary,
    as_markdown,
    as_table,
    best_and_worst,
    summarise,
    write_csv,
    write_parquet,
)
from explorer.evaluation.tables import heading
from explorer.images import ImageError, load
from explorer.metrics import Metric
from explorer.render.manifest import as_json
from explorer.render.overlay import jpeg, overlay
from explorer.render.report import Example, report

_LONGEST = 240
_SHOWN = ("adcc", "average-gain", "average-drop")
_UNFINISHED = ".results"


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
    columns = [column_of(metric) for metric in configuration.metrics]
    methods = {str(method): method.title + method.qualifier for method in configuration.methods}
    controls = [str(method) for method in configuration.methods if method.family == "controls"]
    summary = summarise(table, columns, (baseline, "plain"), controls=controls)
    document = {"evaluation": outcome.description, "left_out": outcome.skipped, **summary.as_dict()}
    shown = [column for name in _SHOWN for column in columns if column.name.split(":")[0] == name]
    column = next((one for one in (*shown, *columns) if one.better is not None), None)
    examples, gone = _examples(engine, entries, configuration, table, column, within) if column else ({}, [])
    about = _about(outcome, summary, table, gone)
    names = [column.name for column in summary.columns]
    written = {
        "summary.json": as_json(document) + "\n",
        "table.md": f"{as_markdown(summary, methods, names)}\n{_legend(summary, about)}\n",
        "report.html": report(summary, table, methods, about, examples),
    }
    with FileLock(folder / ".lock"):
        whole = folder / _UNFINISHED
        shutil.rmtree(whole, ignore_errors=True)  # of a run that was killed while it wrote
        whole.mkdir()
        write_csv(table, whole / "pictures.csv")
        write_parquet(table, whole / "pictures.parquet")
        for name, text in written.items():
            (whole / name).write_text(text, "utf-8")
        for path in whole.iterdir():
            path.replace(folder / path.name)
        whole.rmdir()


def column_of(metric: Metric) -> Column:
    """A metric as a column, which says what it measures and with which options."""
    definition = "; ".join(filter(None, [metric.definition(), metric.describe()]))
    return Column(str(metric), metric.symbol + metric.qualifier, metric.title, metric.better, definition)


def _examples(
    engine: Engine,
    entries: Sequence[Entry],
    configuration: Configuration,
    table: DataFrame,
    column: Column,
    within: Progress | None,
) -> tuple[dict[tuple[str, str], list[Example]], list[str]]:
    """The plain maps of the pictures with each method's best and worst scores, made once more; and why pictures that
    are no longer what was measured are left out."""
    files = {entry.identifier: entry.path for entry in entries}
    scores = table[table["variant"] == "plain"].set_index(["method", "picture"])
    found: dict[tuple[str, str], list[Example]] = {}
    gone: dict[str, None] = {}
    for number, method in enumerate(configuration.methods):
        best, worst = best_and_worst(table, column, str(method), "plain")
        for name in (*best, *worst):
            digest, target, score = scores.loc[(str(method), name), ["digest", "target", column.name]]
            try:
                picture = load(files.get(name) or files[name.removesuffix(f" ({int(target)})")])
            except ImageError as error:
                gone[str(error)] = None
                continue
            if picture.digest != digest:
                gone[f"{name} is another picture than the one that was measured."] = None
                continue
            explanation = engine.explain(picture, configuration.requests(int(target))[number], within)
            drawn = overlay(picture, explanation.attribution.saliency.numpy(), explanation.box)
            caption = f"{name}: {explanation.label}, {column.symbol} {100 * score:.1f}"
            found.setdefault((str(method), "plain"), []).append(
                (caption, jpeg(drawn, _LONGEST), name in best)
            )
    return found, list(gone)


def _legend(summary: Summary, about: Mapping[str, str]) -> str:
    """What the numbers of the table are."""
    metrics = "\n".join(
        f"- {heading(column)}: {column.title}. {column.definition}" for column in summary.columns
    )
    facts = "\n".join(f"- {name}: {fact}" for name, fact in about.items())
    return (
        "Means in percent, ± half the width of their 95% bootstrap interval. Of each kind of map the best method is "
        "bold; what does not differ from it significantly (paired permutation test, Holm) is in italics; controls are "
        "neither.\n\n"
        f"{metrics}\n\n{facts}"
    )


def _about(outcome: Outcome, summary: Summary, table: DataFrame, gone: Sequence[str]) -> dict[str, str]:
    """What was evaluated, by heading."""
    description = outcome.description
    shape = " x ".join(map(str, description["layer_shape"]))
    library = description["library"]
    measured = f"{summary.photographs} of {description['pictures']}"
    if summary.pictures > summary.photographs:
        measured += (
            f", {summary.pictures} classes of them; those of a picture are resampled and swapped together"
        )
    known = table.groupby("picture")["label"].first().notna().sum()
    empty = [
        column.title
        for column in summary.columns
        if all(row.scores[column.name].everywhere.n == 0 for row in summary.rows)
    ]
    facts = {
        "Backbone": f"{description['backbone']}, weights {description['weights_sha256'][:16]}",
        "Layer": f"{description['layer']} ({shape})",
        "Pictures": f"{measured}, {description['pictures_sha256'][:16]}",
        "Known class": f"of {known} of {summary.pictures}",
        "Explained class": f"the {description['classes']} class",
        "Calibration": "for every method alike: of ten levels of area removed, the one at which the class is most "
        "probable with the rest on the mean colour, whatever the fill of a metric; of Libra-CAM's official code the "
        "next one",
        "Blank maps": "are measured as maps that keep nothing",
    }
    if empty:
        facts["No value"] = f"{', '.join(empty)}: no picture has what is needed, boxes or a mask of its class"
    if outcome.skipped:
        facts["Left out"] = " ".join(outcome.skipped)
    if gone:
        facts["No example"] = " ".join(gone)
    if library:
        facts["Reference library"] = (
            f"{library['name']}, {library['records']} records, {library['source']}, "
            f"{library['fingerprint'][:16]}; rule {library['rule']}, seed {library['seed']}, limit {library['limit']}"
        )
    options = {name: options for name, options in description["methods"].items() if options}
    if options:
        facts["Methods"] = "; ".join(
            f"{name.partition(':')[0]} ({', '.join(f'{option} {value}' for option, value in several.items())})"
            for name, several in options.items()
        )
    known_versions = {name: number for name, number in description["versions"].items() if number}
    facts["Versions"] = ", ".join(f"{name} {number}" for name, number in known_versions.items())
    return facts
