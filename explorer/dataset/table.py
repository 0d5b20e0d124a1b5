"""CSV files that say something about pictures: their classes, or where objects are."""

import csv
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from explorer.errors import ExplorerError

T = TypeVar("T")
Row = dict[str, str]


class TableError(ExplorerError):
    """A CSV file that cannot be read as what it was given for; the sentence says what it must hold."""


def read_table(
    path: Path, purpose: str, columns: str, value: Callable[[Row], T], pictures: Collection[str] | None = None
) -> list[tuple[str, T]]:
    """The column ``file`` of every row and what ``value`` makes of that row, in order.

    Args:
        path: in UTF-8, the first line names the columns.
        purpose, columns: what the file is read as, and the columns it must have, for the message.
        value: of a row by column, in which cells that are missing are empty; its KeyError and ValueError refuse.
        pictures: the names to keep; None keeps all.

    Raises:
        TableError: a file that cannot be read, or that names none of the pictures.
    """
    place, names, rows = "", [""], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            reader.fieldnames = names = [name.strip() for name in reader.fieldnames or ()]
            for row in reader:
                place = f", line {reader.line_num}"
                rows.append((row["file"], value(row)))
    except FileNotFoundError as error:
        raise TableError(f"{path} cannot be read as {purpose} (it is missing): check its path.") from error
    except KeyError as error:
        raise TableError(
            f"{path} cannot be read as {purpose} (it has no column {error}, but {', '.join(names)[:80]}): it must be a "
            f"CSV file, with commas, with the columns {columns}."
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise TableError(
            f"{path} cannot be read as {purpose} ({error}{place}): it must be a CSV file with the columns {columns}."
        ) from error
    if pictures is None:
        return rows
    kept = [row for row in rows if row[0] in pictures]
    if not kept:
        raise TableError(f"{path} names none of the pictures: its column file must hold their file names.")
    return kept


def read_labels(path: Path, pictures: Collection[str]) -> list[tuple[str, int]]:
    """(file, class index) of each row of a labels file, the rows of other pictures left out.

    Raises:
        TableError: a file that cannot be read, or that names none of the pictures.
    """
    columns = "file and class_index, a whole number"
    return read_table(path, "labels", columns, lambda row: int(row["class_index"]), pictures)
