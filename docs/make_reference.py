"""Writes the reference of all methods and metrics from their declarations: two overviews, and a page for each.

PYTHONPATH=. python docs/make_reference.py [FOLDER]
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from explorer.declaration import QUALITIES, Declared, options_of
from explorer.methods import METHODS, Method
from explorer.metrics import METRICS, Metric

D = TypeVar("D", bound=Declared)
BETTER = {"higher": "higher is better ↑", "lower": "lower is better ↓", None: "neither way is better"}
PLAIN = "nothing but the activation"


def write(folder: Path) -> None:
    _write(folder / "methods.md", methods())
    _pages(folder / "methods", METHODS, _method)
    _write(folder / "metrics.md", metrics())
    _pages(folder / "metrics", METRICS, _metric)


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _pages(folder: Path, known: Mapping[str, type[D]], page: Callable[[type[D]], Iterator[str]]) -> None:
    """A page for each, and no other."""
    folder.mkdir(exist_ok=True)
    for left_over in set(folder.glob("*.md")) - {folder / f"{name}.md" for name in known}:
        left_over.unlink()
    for name, declared in known.items():
        _write(folder / f"{name}.md", page(declared))


def methods() -> Iterator[str]:
    yield "# The methods\n"
    yield (
        "A page for each, made by `docs/make_reference.py` from what it declares; `python -m explorer methods` lists "
        "them. Passes are forward passes of the whole network."
    )
    yield (
        "\nA is the activation of the layer, A_k one of its channels, g the gradient of the logit y_c of the class by "
        "it; x is the picture, f_c(x) its logit, p_c its probability. n scales to [0, 1], up enlarges to the picture, "
        "(\\*) multiplies position by position."
    )
    yield "\n![Every method on the sample photographs](methods.jpg)\n"
    yield (
        "`docs/make_montage.py` makes the picture. The options beside a name are set lower than by default, for speed; "
        "Libra-CAM has the built-in library. A method is grey where it is not defined or its map is blank."
    )
    for family, members in groupby(METHODS.values(), lambda method: method.family):
        yield f"\n## {family.capitalize()}\n"
        yield "| method | good at | needs | cost |\n|---|---|---|---|"
        for method in members:
            needs = ", ".join(method.needs) or PLAIN
            yield f"| [{method.title}](methods/{method.name}.md) | {method.good} | {needs} | {method.cost} |"


def metrics() -> Iterator[str]:
    yield "# The metrics\n"
    yield (
        "A page for each, made by `docs/make_reference.py` from what it declares; `python -m explorer metrics` lists "
        "them."
    )
    yield (
        "\nS is the map in [0, 1], x the picture, p the probability of the class on it, o that on x * S, d that on "
        "x * (1 - S). Values are fractions; tables show them in percent. Over a data set they are averaged over all "
        "pictures, a blank map counting as one that keeps nothing. Every map is measured plain and calibrated, that is "
        "cut at the best of ten levels by its own masked probability."
    )
    for kind, members in groupby(METRICS.values(), lambda metric: metric.kind):
        yield f"\n## {kind.capitalize()}\n"
        yield "| metric | | better | what it says | cost |\n|---|---|---|---|---|"
        for metric in members:
            name = f"[{metric.title}](metrics/{metric.name}.md)"
            yield f"| {name} | {metric.symbol} | {metric.better or 'neither'} | {metric.good} | {metric.cost} |"


def _method(method: type[Method]) -> Iterator[str]:
    yield from _title(method, "methods", method.family)
    yield f"**Map.** {_escaped(method.definition())}\n"
    yield f"- Good: {method.good}"
    yield f"- Bad: {method.bad}"
    yield f"- Needs: {', '.join(method.needs) or PLAIN}."
    yield f"- Cost: {method.cost}."
    yield "- Letters: those of the [overview](../methods.md)."
    if method.on_linear_head:
        yield f"- After pooling and one linear layer: {method.on_linear_head}"
    yield from _options(method)
    yield "\n## Why a map is blank\n"
    if method.blanks:
        yield from (f"- {blank}" for blank in method.blanks)
    else:
        yield "It never is."
    yield from _shell(
        f"python -m explorer explain photo.jpg --method {method.name}{_flag(method)} --out maps",
    )
    yield from _python(
        "from explorer import METHODS, explain, sample",
        "",
        f'method = METHODS["{method.name}"]({_argument(method)})',
        'explanation = explain(sample("chelsea"), method=method)',
        "print(explanation.attribution.blank or explanation.attribution.saliency)  # (H, W), 0 to 1",
    )


def _metric(metric: type[Metric]) -> Iterator[str]:
    low, high = ("unbounded" if bound is None else str(bound) for bound in (metric.low, metric.high))
    yield from _title(metric, "metrics", metric.kind)
    yield f"**{metric.symbol}.** {_escaped(metric.definition())}.\n"
    yield f"- Good: {metric.good}"
    yield f"- Bad: {metric.bad}"
    yield f"- Direction: {BETTER[metric.better]}; range: {low} to {high}."
    yield f"- Removed pixels: {metric.removed or 'none are'}."
    yield f"- Needs: {'to know where the object is' if metric.needs_objects else 'the map only'}."
    yield f"- Cost: {metric.cost}."
    yield "- Letters: those of the [overview](../metrics.md)."
    if metric.quirk:
        yield f"- Other codes: {metric.quirk}"
    yield from _options(metric)
    option = "".join(f":{item['name']}={_example(item)}" for item in options_of(metric)[:1])
    boxes = " --boxes boxes.csv" if metric.needs_objects else ""
    yield from _shell(
        f"python -m explorer evaluate --images photos{boxes} --methods grad-cam --metrics "
        f"{_quoted(metric.name + option)} --out results",
    )
    located = metric.needs_objects
    yield from _python(
        *(["import torch", ""] if located else []),
        "from explorer import METHODS, METRICS, Engine, Request, sample",
        *(["from explorer.metrics import Objects"] if located else []),
        "",
        f'metric = METRICS["{metric.name}"]({_argument(metric)})',
        *(_OBJECT if located else []),
        'request = Request(method=METHODS["grad-cam"]())',
        f'[figures] = Engine().figures(sample("chelsea"), [request], [metric]{", objects" if located else ""})',
        "print(figures.plain[str(metric)], figures.calibrated[str(metric)])",
    )


_OBJECT = (
    "region = torch.zeros(224, 224, dtype=torch.bool)  # of the network's input",
    "region[40:200, 60:180] = True",
    "objects = Objects(region, boxes=((60, 40, 180, 200),))",
)


def _title(declared: type[Declared], kind: str, group: str) -> Iterator[str]:
    paper = declared.paper
    anchor = group.lower().replace(" ", "-")
    yield f"# {declared.title}\n"
    yield f"`{declared.name}`, of the [{kind}](../{kind}.md): [{group}](../{kind}.md#{anchor}).\n"
    yield f"{paper.authors}: [{paper.title}]({paper.link}), {paper.venue} {paper.year}.\n"


def _options(declared: type[Declared]) -> Iterator[str]:
    yield "\n## Options\n"
    options = options_of(declared)
    if not options:
        yield "None."
        return
    others = [quality for quality in QUALITIES if any(quality in item["presets"] for item in options)]
    columns = ["option", "default", *others, "range", "what it does", "source"]
    yield f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"
    for item in options:
        decided = [str(item["presets"].get(quality, item["default"])) for quality in others]
        presets = decided if item["presets"] else [""] * len(others)
        cells = (
            f"`{item['name']}`",
            str(item["default"]),
            *presets,
            _span(item),
            item["help"],
            item["source"],
        )
        yield f"| {' | '.join(cells)} |"
    if others:
        yield (
            "\nWhat is not given follows `--quality`: quick, standard (the default), or paper, what the paper or its "
            "released code states; without a column that is the default."
        )


def _span(item: dict[str, Any]) -> str:
    if isinstance(item["default"], bool):
        return "True, False"
    return ", ".join(item["choices"]) or f"{item['low']} to {item['high']}"


def _shell(command: str) -> Iterator[str]:
    yield f"\n## Ask for it\n\n```sh\n{command}\n```"


def _python(*lines: str) -> Iterator[str]:
    yield "\n```python"
    yield from lines
    yield "```"


def _example(item: dict[str, Any]) -> Any:
    """A value for an option: the switch on, the last choice, a number's default."""
    if isinstance(item["default"], bool):
        return True
    return item["choices"][-1] if item["choices"] else item["default"]


def _argument(declared: type[Declared]) -> str:
    return ", ".join(f"{item['name']}={_literal(_example(item))}" for item in options_of(declared)[:1])


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _flag(method: type[Method]) -> str:
    """The first option as the command line takes it."""
    for item in options_of(method)[:1]:
        value = _example(item)
        return f" --{item['name'].replace('_', '-')}" + ("" if value is True else f" {value}")
    return ""


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


def _escaped(text: str) -> str:
    return text.replace("*", chr(92) + "*")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
