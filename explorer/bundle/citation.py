"""Papers as BibTeX."""

import re
from collections.abc import Iterable

from explorer.declaration import Paper

_JOURNALS = {
    "CVIU": "Computer Vision and Image Understanding",
    "IEEE TIP": "IEEE Transactions on Image Processing",
    "Journal of Vision": "Journal of Vision",
}
_DOI, _ARXIV = "https://doi.org/", "https://arxiv.org/abs/"


def bibtex(papers: Iterable[Paper]) -> str:
    """One entry for each paper, in the order in which they first come; the same link is the same paper."""
    entries: dict[str, str] = {}
    links: set[str] = set()
    for paper in papers:
        if paper.link not in links:
            links.add(paper.link)
            key = _key(paper)
            while key in entries:
                key += "+"
            entries[key] = _entry(paper, key)
    return "\n".join(entries.values())


def _key(paper: Paper) -> str:
    """First author, year and first long word of the title: ``lee2022libra``."""
    words = re.findall(r"[A-Za-z]{4,}", paper.title)
    author = re.sub(r"[^a-z]", "", paper.authors.split(",")[0].lower())
    return f"{author}{paper.year}{words[0].lower() if words else ''}"


def _entry(paper: Paper, key: str) -> str:
    kind, where = "inproceedings", {"booktitle": _plain(paper.venue)}
    if paper.venue in _JOURNALS:
        kind, where = "article", {"journal": _JOURNALS[paper.venue]}
    elif paper.venue == "arXiv":
        kind, where = "misc", {}
    fields = {
        "author": " and ".join(name.strip() for name in _plain(paper.authors).split(",")),
        "title": f"{{{_plain(paper.title)}}}",
        **where,
        "year": str(paper.year),
    }
    if paper.link.startswith(_DOI):
        fields["doi"] = paper.link.removeprefix(_DOI)
    if paper.link.startswith(_ARXIV):
        fields |= {"eprint": paper.link.removeprefix(_ARXIV), "archiveprefix": "arXiv"}
    fields["url"] = paper.link
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}\n"


def _plain(text: str) -> str:
    """A text that TeX sets as it is."""
    return re.sub(r"[&%$#_]", r"\\\g<0>", text)
