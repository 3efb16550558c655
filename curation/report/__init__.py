"""report: one page of HTML that says what came in, what was removed and why, and what the blend holds.

Everything on it follows from the recipe and the documents: no times, no paths, so that it is the same on every machine.
The card that lies beside it in a release is made by `card`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from curation import __version__
from curation import rules as ruling
from curation.dedup.signatures import probability
from curation.report import toml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curation.run import Run

#: What becomes of documents, in the order of the bars.
FATES = ("kept", "duplicates", "dropped", "errors")
#: What the reasons that are no rules look at.
BUILT_IN = {ruling.EMPTY: "no text", ruling.EMPTY_AFTER_EDIT: "the edits leave no text"}
#: The place of the curve in its drawing: left, right, top and bottom in units of the SVG.
_PLOT = (42, 348, 14, 188)


def report(run: Run) -> dict[str, Any]:
    """Write `report.html`, one file that needs nothing else."""
    page = html(run).encode()
    run.work.storage.write("report.html", page)
    return {"bytes": len(page)}


def html(run: Run) -> str:
    """The page."""
    judged, blended = run.figures["judge"], run.figures["blend"]
    rules = {rule.name: rule for rule in ruling.rules_of(run.recipe)}
    total = {key: sum(counts[key] for counts in judged["sources"].values()) for key in ("documents", *FATES)}
    return environment().get_template("report.html.j2").render(
        recipe=run.recipe,
        recipe_text=toml.written(run.recipe.semantic()),
        software=f"curate {__version__}",
        warnings=run.warnings,
        inputs={"files": len(run.inputs), "bytes": sum(file["bytes"] for file in run.inputs)},
        total=total,
        sources=_sources(run, total),
        hits=_hits(judged, rules, total["documents"] - total["errors"]),
        silent=[rules[name] for name in judged["silent_rules"]],
        rules=len(rules),
        pairs=run.figures["compare"],
        curve=_curve(run.recipe.dedup.similarity, run.recipe.dedup.bands, run.recipe.dedup.rows),
        blend=blended,
        groups=_groups(blended),
        fates=FATES,
    )  # fmt: skip


def environment() -> Environment:
    """Templates of this package; all but Markdown is escaped, and that by the filters of `card`."""
    made = Environment(
        loader=PackageLoader("curation.report", ""),
        autoescape=select_autoescape(disabled_extensions=("md.j2",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"number": number, "share": share, "size": size}
    return made


def number(value: int) -> str:
    """A count, to read.

    >>> number(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def share(part: float, whole: float = 1) -> str:
    """A part of a whole in percent; never 0 or 100 unless it is.

    >>> share(1, 3), share(1, 10_000), share(9_999, 10_000), share(2, 2), share(0, 0)
    ('33.3%', '< 0.1%', '> 99.9%', '100%', '0%')
    """
    if not part or not whole:
        return "0%"
    ratio = part / whole
    if ratio < 0.001:
        return "< 0.1%"
    if ratio == 1:
        return "100%"
    return "> 99.9%" if 0.999 < ratio < 1 else f"{ratio:.1%}"


def size(count: int) -> str:
    """Bytes, to read.

    >>> size(999), size(1_500), size(2_345_678_901)
    ('999 B', '1.5 kB', '2.3 GB')
    """
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.95:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def _sources(run: Run, total: Mapping[str, int]) -> list[dict[str, Any]]:
    """A row for each source in the order of the recipe, and one for all where there are several."""
    rows = []
    for source in run.recipe.source:
        files = [file["bytes"] for file in run.inputs if file["source"] == source.name]
        counts = run.figures["judge"]["sources"][source.name]
        rows.append(
            {
                "name": source.name,
                "kind": source.kind,
                "license": source.license,
                "files": len(files),
                "bytes": sum(files),
                **{key: counts[key] for key in total},
                "bar": _stacked(counts),
            }
        )
    if len(rows) > 1:
        files = [file["bytes"] for file in run.inputs]
        everything = {"name": "all sources", "kind": None, "license": None, "files": len(files), "bytes": sum(files)}
        rows.append({**everything, **total, "bar": _stacked(total)})
    return rows


def _stacked(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The pieces of a bar that is all documents long: place and width in percent.

    >>> [(piece["fate"], piece["x"], piece["width"]) for piece in
    ...  _stacked({"documents": 8, "kept": 6, "duplicates": 0, "dropped": 1, "errors": 1})]
    [('kept', 0.0, 75.0), ('dropped', 75.0, 12.5), ('errors', 87.5, 12.5)]
    """
    pieces, done = [], 0
    for fate in FATES:
        count = counts[fate]
        if count:
            x, end = (round(100 * place / counts["documents"], 3) for place in (done, done + count))
            pieces.append({"fate": fate, "count": count, "x": x, "width": round(end - x, 3)})
            done += count
    return pieces


def _hits(judged: Mapping[str, Any], rules: Mapping[str, ruling.Rule], readable: int) -> list[dict[str, Any]]:
    """What was dropped by each rule and built-in reason that hit something, the busiest first."""
    rows = []
    most = max(judged["rules"].values(), default=0)
    for name, count in sorted(judged["rules"].items(), key=lambda item: (-item[1], item[0])):
        rule = rules.get(name)
        by_source = {source: counts["rules"].get(name, 0) for source, counts in judged["sources"].items()}
        rows.append(
            {
                "name": name,
                "predicate": rule.predicate if rule else None,
                "what": None if rule else BUILT_IN.get(name, ""),
                "origin": rule.origin if rule else "built in",
                "count": count,
                "share": share(count, readable),
                "width": round(100 * count / most, 3),
                "sources": [(source, hit) for source, hit in by_source.items() if hit],
            }
        )
    return rows


def _curve(threshold: float, bands: int, rows: int) -> dict[str, Any]:
    """How likely a pair of each similarity is compared at all, drawn."""
    left, right, top, bottom = _PLOT

    def point(similarity: float, likely: float) -> tuple[str, str]:
        return f"{left + similarity * (right - left):.1f}", f"{bottom - likely * (bottom - top):.1f}"

    steps = [step / 100 for step in range(101)]
    path = " ".join(",".join(point(step, probability(step, bands, rows))) for step in steps)
    likely = probability(threshold, bands, rows)
    x, y = point(threshold, likely)
    known = [(similarity, share(probability(similarity, bands, rows))) for similarity in (0.5, 0.6, 0.7, 0.8, 0.9)]
    return {
        "path": path,
        "x": x,
        "y": y,
        "likely": share(likely),
        "known": known,
        "across": [(f"{tick:g}", point(tick, 0)[0]) for tick in (0, 0.25, 0.5, 0.75, 1)],
        "up": [(f"{tick:.0%}", point(0, tick)[1]) for tick in (0, 0.5, 1)],
        "plot": {"left": left, "right": right, "top": top, "bottom": bottom},
    }


def _groups(blended: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each group with its bar, and why it gives something else than it was asked for."""
    most = max((max(group["tokens"], group["asked_tokens"] or 0) for group in blended["groups"]), default=0) or 1
    rows = []
    for group in blended["groups"]:
        asked, tokens, why = group["asked_tokens"], group["tokens"], group["why"]
        if why is None:
            why = "no budget: everything, once" if asked is None else "as asked"
            if asked is not None and tokens != asked:
                why = "as asked, to the document: the next one would go over"
        rows.append(
            {
                **group,
                "why": why,
                "differs": asked is not None and tokens < 0.99 * asked,
                "width": round(100 * tokens / most, 3),
                "mark": None if asked is None else round(100 * asked / most, 3),
            }
        )
    return rows
