"""Writes the references of all methods and all metrics from their declarations.

PYTHONPATH=. python docs/make_reference.py [FOLDER]
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from explorer.declaration import Declared, options_of
from explorer.methods import METHODS, Method
from explorer.metrics import METRICS, Metric

D = TypeVar("D", bound=Declared)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, lines in (("methods.md", methods()), ("metrics.md", metrics())):
        (folder / name).write_text("\n".join(lines) + "\n", "utf-8")


def methods() -> Iterator[str]:
    yield "# The methods\n"
    yield (
        "Made by `docs/make_reference.py` from what each method declares; `python -m explorer methods` lists the same."
    )
    yield "\n![Every method on the sample photographs](methods.jpg)\n"
    yield (
        "`docs/make_montage.py` makes the picture. The options beside a name are set lower than by default, for speed; "
        "Libra-CAM has the built-in library. A method is grey where it is not defined or its map is blank."
    )
    yield from _grouped(METHODS, lambda method: method.family, _method)


def metrics() -> Iterator[str]:
    yield "# The metrics\n"
    yield (
        "Made by `docs/make_reference.py` from what each metric declares; `python -m explorer metrics` lists the same."
    )
    yield (
        "\nS is the map in [0, 1], x the picture, p the probability of the class on it, o that on x * S, d that on "
        "x * (1 - S). Values are fractions; tables show them in percent. Over a data set they are averaged over all "
        "pictures, a blank map counting as one that keeps nothing. Every map is measured plain and calibrated, that is "
        "cut at the best of ten levels by its own masked probability."
    )
    yield from _grouped(METRICS, lambda metric: metric.kind, _metric)


def _grouped(
    known: Mapping[str, type[D]], group: Callable[[type[D]], str], entry: Callable[[type[D]], Iterator[str]]
) -> Iterator[str]:
    """What is registered, under a heading for each group."""
    for name, members in groupby(known.values(), group):
        yield f"\n## {name.capitalize()}"
        for member in members:
            yield ""
            yield from entry(member)


def _method(method: type[Method]) -> Iterator[str]:
    yield f"### {method.title} (`{method.name}`)\n"
    yield _paper(method)
    yield f"{method.good} {method.bad}\n"
    yield f"- Cost: {method.cost}."
    yield f"- Needs: {', '.join(method.needs) or 'nothing but the activation'}."
    yield f"- {_escaped(_formula(method))}"
    yield from _options(method)


def _metric(metric: type[Metric]) -> Iterator[str]:
    better = {"higher": "higher is better ↑", "lower": "lower is better ↓", None: "neither way is better"}
    low, high = ("unbounded" if bound is None else str(bound) for bound in (metric.low, metric.high))
    yield f"### {metric.title}, {metric.symbol} (`{metric.name}`)\n"
    yield _paper(metric)
    yield f"{metric.good} {metric.bad}\n"
    yield f"- {better[metric.better].capitalize()}; from {low} to {high}; cost: {metric.cost}."
    if metric.needs_objects:
        yield "- Needs to know where the object is."
    yield f"- {_escaped(metric.definition())}."
    yield from _options(metric)


def _paper(declared: type[Declared]) -> str:
    paper = declared.paper
    return f"{paper.authors}: [{paper.title}]({paper.link}), {paper.venue} {paper.year}.\n"


def _formula(method: type[Method]) -> str:
    """The first part of what its call says of itself, on one line."""
    document = inspect.getdoc(method.__call__) or ""
    return " ".join(re.split(r"\n\n(?:Args|Raises):", document)[0].split())


def _escaped(text: str) -> str:
    return text.replace("*", chr(92) + "*")


def _options(declared: type[Declared]) -> Iterator[str]:
    options = options_of(declared)
    if options:
        yield "\n| option | default | range | what it does | source |\n|---|---|---|---|---|"
        for item in options:
            yield f"| `{item['name']}` | {item['default']} | {_span(item)} | {item['help']} | {item['source']} |"


def _span(item: dict[str, Any]) -> str:
    if isinstance(item["default"], bool):
        return "True, False"
    return ", ".join(item["choices"]) or f"{item['low']} to {item['high']}"


if __name__ == "__main__":
    main()
