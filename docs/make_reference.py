"""Writes the reference of all methods from their declarations.

PYTHONPATH=. python docs/make_reference.py > docs/methods.md
"""

import inspect
from collections.abc import Iterator
from typing import Any

from explorer.declaration import options_of
from explorer.methods import METHODS, Method


def main() -> None:
    print("# The methods\n")
    print(
        "Made by `docs/make_reference.py` from what each method declares; `python -m explorer methods` lists the same."
    )
    print("\n![Every method on the sample photographs](methods.jpg)\n")
    print(
        "`docs/make_montage.py` makes the picture. The options beside a name are set lower than by default, for speed; "
        "Libra-CAM has the built-in library. A method is grey where it is not defined or its map is blank."
    )
    family = ""
    for method in METHODS.values():
        if method.family != family:
            family = method.family
            print(f"\n## {family.capitalize()}")
        print("\n" + "\n".join(_entry(method)))


def _entry(method: type[Method]) -> Iterator[str]:
    paper = method.paper
    yield f"### {method.title} (`{method.name}`)\n"
    yield f"{paper.authors}: [{paper.title}]({paper.link}), {paper.venue} {paper.year}.\n"
    yield f"{method.good} {method.bad}\n"
    yield f"- Cost: {method.cost}."
    yield f"- Needs: {', '.join(method.needs) or 'nothing but the activation'}."
    formula = " ".join((inspect.getdoc(method.__call__) or "").split("\n\nRaises")[0].split())
    yield f"- {formula.replace('*', chr(92) + '*')}"
    options = options_of(method)
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
