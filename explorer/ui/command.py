"""The command line that does what a page has done."""

import shlex

from explorer.evaluation.shelf import Kept
from explorer.library import BUILT_IN, UNLIKELY


def evaluate(kept: Kept, images: str) -> str:
    """The command that makes an evaluation.

    Args:
        images: the name of the folder of pictures.
    """
    about = kept.evaluation
    words = ["python", "-m", "explorer", "evaluate", "--images", images]
    for table, given in (("labels", kept.labels), ("boxes", kept.boxes)):
        words += [f"--{table}", f"{images}/{table}.csv"] if given else []
    words += ["--backbone", about["backbone"], "--layer", about["layer"]]
    words += ["--methods", ",".join(about["methods"]), "--metrics", ",".join(about["metrics"])]
    words += ["--classes", about["classes"], "--baseline", kept.baseline]
    if library := about["library"]:
        words += ["--library", library["name"]] if library["name"] != BUILT_IN else []
        words += ["--rule", library["rule"], "--seed", str(library["seed"])]
        words += ["--limit", str(library["limit"])] if library["limit"] != UNLIKELY else []
    return shlex.join([*words, "--out", "results"])
