"""What a bundle says of itself."""

from explorer.bundle.contents import printable
from explorer.bundle.wall import Wall

_TEXT = """\
# Maps of CAM Explorer

`figure.png`, `figure.svg` and `figure.pdf` show everything at once. `maps` holds each map (float32, 0 to 1, in the
frame of the network's input), `signed` the same before ReLU and scaling (float32, at the layer's resolution),
`overlays` each map on its photograph as the figure shows it, `pictures` the photographs as they were decoded.
{tables}`references.bib` has the papers to cite. `manifest.json` says what everything was made of, with the
digest (sha256) of every file; `extent` are the values in the method's own units that 0 and 1 of a map stand for.

{index}
{scales}{missing}
## The same maps again

With this ZIP file, or the folder that it was unpacked into, in the place of `bundle.zip`:

```sh
python -m explorer remake bundle.zip --out again
```

says of each map whether it is bit-equal. On another machine, or with other versions, the last bits may differ.

In Python:

```python
import torch

from explorer import Engine
from explorer.bundle import opened

bundle, engine = opened("bundle.zip"), Engine()
torch.set_num_threads(bundle.threads)  # it decides the last bits
for kept in bundle:
    explanation = engine.explain(bundle.picture(kept), kept.request)
    print(kept.name, kept.request.method, explanation.label, explanation.attribution.saliency.shape)
```
"""


def readme(wall: Wall) -> str:
    """The text, in Markdown, with an index of the maps."""
    lines = ["| picture | network | layer | method | class | map |", "|---|---|---|---|---|---|"]
    for name, row, hung in wall.named():
        e = hung.explanation
        method = e.request.method
        cells = (row.picture.name, e.request.backbone, e.layer.name, method.title + method.qualifier)
        file = f"`{name}`" + (" (blank)" if e.attribution.blank else "")
        told = (*map(_cell, (*cells, f"{e.label} ({e.probability:.1%})")), file)
        lines.append(" | ".join(["", *told, ""]).strip())
    tables = [
        name
        for name, there in (
            ("calibration.csv", any(hung.explanation.calibration for _, _, hung in wall.named())),
            ("faithfulness.csv", any(hung.figures for _, _, hung in wall.named())),
        )
        if there
    ]
    missing = "\n".join(f"- {_cell(phrase)}" for phrase in wall.missing)
    return _TEXT.format(
        index="\n".join(lines),
        tables=f"`{'` and `'.join(tables)}` {'have' if len(tables) > 1 else 'has'} the figures. "
        if tables
        else "",
        scales=_scales(wall),
        missing=f"\nNot ready when this was made:\n\n{missing}\n" if missing else "",
    )


def _scales(wall: Wall) -> str:
    """What the colours stand for where methods share a scale."""
    if not wall.layout.shared:
        return ""
    told = "".join(
        f"- {_cell(name)}: from {low:.3g} to {high:.3g}\n" for name, (low, high) in wall.ends.items()
    )
    return (
        "\nIn the figure and the overlays all maps of a method share one scale of colours, in its own units; where a "
        f"method has none, from 0 to 1.\n\n{told}"
    )


def _cell(text: str) -> str:
    """A text that Markdown shows as it is."""
    return "".join(f"\\{c}" if c in r"\`*_[]<>|" else c for c in printable(text))
