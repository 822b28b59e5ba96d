"""Results as one HTML page that needs no other file, no network and no script."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchprobe.documents import dumps
from torchprobe.plotting.text import visible
from torchprobe.report import account
from torchprobe.report.contents import sections
from torchprobe.report.images import picture
from torchprobe.report.wording import cells, paragraphs
from torchprobe.storage import write_file
from torchprobe.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from jinja2 import Environment

    from torchprobe.report.parts import Figure, Section
    from torchprobe.results import Results

__all__ = ["write"]

_CSS_INCH = 96  # pixels of a page


def write(
    results: Results,
    path: str | os.PathLike[str],
    *,
    title: str = "torchprobe report",
    intro: str = "",
    extra: Sequence[Section] = (),
    figures: str | os.PathLike[str] | None = None,
) -> Path:
    """Write results as one self-contained HTML page and return its path.

    Every analyzer gets a section: the one its plugin writes, or its numbers by layer and its
    drawings. What is incomplete says so at the top. The page loads nothing, runs nothing, and
    shows every name from models and data as plain text; the single numbers are in it once more as
    JSON (``<script type="application/json">``).

    Args:
        results: of a probe, or of `torchprobe.results.load`.
        path: the file; its folder is made if need be, and what stood there is replaced in one step.
        title: the heading of the page.
        intro: what was done with what, a paragraph or several, as plain text.
        extra: sections of one's own, which come first.
        figures: a folder that gets every figure as a file too, as the page shows it (svg or png),
            numbered by section; none by default.

    Raises:
        OSError: the file cannot be written; what was there before is intact.

    Example:
        >>> from torchprobe.results import Field, LayerResults, Result, Results
        >>> lda = Result("size", "hidden.1", fields={"units": Field("", 256)})
        >>> folder = getfixture("tmp_path")
        >>> page = write(Results({"size": LayerResults([lda])}), folder / "report.html")
        >>> "hidden.1" in page.read_text("utf-8")
        True
    """
    path = Path(path)
    own = [_Shown(section, results) for section in extra]
    told = [_Shown(section, results) for section in sections(results)]
    page = (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=title,
            intro=intro,
            facts=_facts(results),
            sections=[*own, *told],
            missing=[
                *((section.title, line) for section in told for line in section.missing),
                *(("The run", line) for line in account.missing_of_run(results)),
            ],
            coverage=account.coverage(results),
            run=account.run(results),
            data=json.loads(dumps(account.data(results))),  # strict JSON: it has no NaN
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, page.encode("utf-8"))
    if figures is not None:
        _write_figures([*own, *told], Path(figures))
    return path


def _write_figures(sections: Sequence[_Shown], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n, section in enumerate(sections, 1):
        name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")[:40]
        for m, figure in enumerate([*section.figures, *section.more], 1):
            shown = figure["picture"]
            write_file(folder / f"{n:02}-{name}-{m:02}.{shown.ending}", shown.data)


class _Shown:
    """A section as the page shows it: with pictures made and its analyzers' account."""

    def __init__(self, section: Section, results: Results) -> None:
        known = [results[name] for name in section.analyzers if name in results]
        self.title, self.text, self.tables = section.title, section.text, section.tables
        self.figures, self.more = map(_pictures, (section.figures, section.more))
        self.missing = [line for layers in known for line in account.missing(layers)]
        self.notes = [line for layers in known for line in account.notes(layers)]
        self.origin = [line for layers in known for line in account.origin(layers)]


def _pictures(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    return [
        {
            "picture": picture(each.figure),
            "caption": each.caption,
            "width": round(each.figure.get_figwidth() * _CSS_INCH),
            "height": round(each.figure.get_figheight() * _CSS_INCH),
        }
        for each in figures
    ]


def _facts(results: Results) -> list[str]:
    layers = {layer for analyzer in results.values() for layer in analyzer.layers}
    return [
        _count(len(results), "analyzer"),
        _count(len(layers), "layer"),
        f"torchprobe {__version__}",
        f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC".lstrip("0"),
    ]


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("torchprobe", "report"),
        autoescape=True,  # jinja's default is off
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(paragraphs=paragraphs, cells=cells)
    return environment


def _finalize(value: Any) -> Any:
    """Text without control characters; what is HTML already, only our own filters made."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
