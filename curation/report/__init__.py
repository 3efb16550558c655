"""report: one page of HTML that says what came in, what was removed and why, and what the blend holds.

Everything on it follows from the recipe, the documents and the last release: no times, no paths, so that it is the
same on every machine. `page` gathers what it says, `counting` counts it, `samples` reads the few texts that it shows;
the card that lies beside it in a release is made by `card`.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from curation import __version__
from curation.dataset import fingerprint
from curation.report import changes

if TYPE_CHECKING:
    from curation.run import Run

#: Raised when the same documents and verdicts give another page, or other figures.
VERSION = 7
#: The page is at most so many bytes: with shorter texts of samples, or with none, where it would be more.
LIMIT = 1_900_000


def report(run: Run) -> dict[str, Any]:
    """Write `report.html`, one file that needs nothing else, unless it is there already and was made from the same.

    The figures are its size, what the manifest takes over, and the kept document and size of the largest cluster of
    copies; `report.json` keeps them beside the page.
    """
    made_from = _fingerprint(run)
    there = _there(run, made_from)
    if there is not None:
        return there
    from curation.report.page import facts, page  # noqa: PLC0415  # with Jinja 0.2 s, and not every run comes here

    view = page(run)
    data = html(view).encode()
    figures = {"bytes": len(data), **facts(run, view["counts"]), "largest_cluster": view["largest_cluster"]}
    record = {"made_from": made_from, "sha256": hashlib.sha256(data).hexdigest(), "figures": figures}
    run.work.storage.write("report.html", data)
    run.work.storage.write("report.json", json.dumps(record, ensure_ascii=False).encode())
    return figures


def html(view: dict[str, Any]) -> str:
    """The page with all that `page` gathered, with shorter samples where it would be larger than `LIMIT`."""
    from curation.report.shown import environment  # noqa: PLC0415

    template = environment().get_template("report.html.j2")
    text = ""
    for characters in (1_200, 300, 0):
        text = template.render({**view, "characters": characters})
        if len(text.encode()) <= LIMIT:
            break
    return text


def _fingerprint(run: Run) -> str:
    """What the page is made from."""
    parts = [
        [str(part), documents.fingerprint, run.signals_from[part], run.verdicts_from[part], run.blend_from[part]]
        for part, documents in run.parts.items()
    ]
    figures = [
        [run.figures.get("pull", {}).get(key) for key in ("records", "not_wanted")],
        run.figures.get("measure", {}).get("decontamination"),
        [[entry["name"], entry["fingerprint"]] for entry in run.figures["measure"]["against"].values()],
        *(run.figures[name] for name in ("compare", "judge", "blend")),
    ]
    return fingerprint(
        "report", VERSION, __version__, run.recipe.semantic(), parts, figures, run.warnings, run.inputs,
        changes.last(run),
    )  # fmt: skip


def _there(run: Run, made_from: str) -> dict[str, Any] | None:
    """The figures of the page that lies there; None where it is not what would be made now."""
    data = run.work.storage.read("report.html")
    try:
        record: dict[str, Any] = json.loads(run.work.storage.read("report.json") or b"{}")
        same = data is not None and record["made_from"] == made_from
        return record["figures"] if same and record["sha256"] == hashlib.sha256(data or b"").hexdigest() else None
    except (ValueError, TypeError, KeyError):
        return None
