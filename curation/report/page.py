"""What the page says: figures of the stages, counts and samples, put into the order in which they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation import __version__
from curation import rules as ruling
from curation.report import changes, toml
from curation.report.counting import BORDERLINE_RULES, Counts, count, domains, thresholds_of
from curation.report.drawing import FATES, curve, histogram, percent, stacked
from curation.report.samples import Duplicates, Kind, Sample, duplicates, samples
from curation.report.scorecard import scorecard
from curation.report.shown import BUILT_IN, share
from curation.report.textbooks import textbooks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from curation.report.thresholds import Threshold
    from curation.run import Run

#: How much of each list is shown at most, so that the page stays small; what is left out is said.
SOURCES, RULES, PAIRS, FIGURES, LANGUAGES, DOMAINS, GROUPS = 60, 120, 15, 42, 20, 20, 60
#: Of how many sources, and of how many reasons, documents are shown, and how many of each.
_KEPT, _DROPPED, _ERRORS = (8, 2), (12, 2), (6, 2)
#: What is counted of a source's documents in the release.
_RELEASED = ("documents", "once", "rows", "tokens")
#: Sizes of duplicate clusters are shown in these steps.
_CLUSTERS = (2, 3, 4, 5, 10, 20, 50, 100, 1_000, 10_000)


def page(run: Run) -> dict[str, Any]:
    """All that the template shows, and `counts`."""
    copies = duplicates(run)
    counts = count(run, wanted=copies.ids)
    judged, blended = run.figures["judge"], run.figures["blend"]
    rules = {rule.name: rule for rule in ruling.rules_of(run.recipe)}
    total = {key: sum(counts[key] for counts in judged["sources"].values()) for key in ("documents", *FATES)}
    readable = total["documents"] - total["errors"]
    return {
        "counts": counts,
        "recipe": run.recipe,
        "recipe_text": toml.written(run.recipe.semantic()),
        "software": f"curate {__version__}",
        "warnings": run.warnings,
        "inputs": {"files": len(run.inputs), "bytes": sum(file["bytes"] for file in run.inputs)},
        "total": total,
        "funnel": _funnel(counts, total),
        "sources": _sources(run, counts, total),
        "records": run.figures.get("pull", {}).get("records") or {},
        "not_wanted": run.figures.get("pull", {}).get("not_wanted") or {},
        "changes": _changes(run, counts),
        "hits": _hits(judged, counts, rules, readable),
        "together": _together(judged, counts),
        "silent": [rules[name] for name in judged["silent_rules"]],
        "rules": len(rules),
        "figures": _figures(run, counts, rules),
        "undrawn": _undrawn(run, rules),
        "pairs": run.figures["compare"],
        "curve": curve(run.recipe.dedup.similarity, run.recipe.dedup.bands, run.recipe.dedup.rows),
        "clusters": _clusters(copies),
        "largest_cluster": dict(zip(("kept", "documents"), copies.largest[0], strict=True)) if copies.largest else None,
        "losing": _losing(run),
        "outside": _outside(run),
        "stable": judged["stable"],
        "blend": blended,
        "groups": _groups(blended),
        "repetition": _repetition(counts),
        "scorecard": scorecard(counts.scores, counts.spreads),
        "tokenizer": run.recipe.tokenizer_identity,
        "languages": _languages(counts),
        "domains": _domains(counts),
        "pii": _pii(run, counts),
        "contamination": _contamination(run, counts),
        "textbooks": textbooks(run),
        "samples": _samples(run, counts, copies, rules),
        "fates": FATES,
        "signals": list(run.work.signals),
        "shown": {"sources": SOURCES, "rules": RULES, "pairs": PAIRS, "figures": FIGURES, "groups": GROUPS},
    }


def facts(run: Run, counts: Counts) -> dict[str, Any]:
    """What the manifest takes over: by source, rules that hit together, and languages."""
    not_wanted = run.figures.get("pull", {}).get("not_wanted") or {}
    sources: dict[str, dict[str, Any]] = {}
    for source in run.recipe.source:
        pulled = {fate: counts.fates[source.name, fate, "tokens"] for fate in FATES}
        sources[source.name] = {
            "alone": {reason: number for (name, reason), number in sorted(counts.alone.items()) if name == source.name},
            "pulled_tokens": sum(pulled.values()),
            "kept_tokens": pulled["kept"],
            "released_documents": counts.released[source.name, "documents"],
            "released_rows": counts.released[source.name, "rows"],
            "released_tokens": counts.released[source.name, "tokens"],
            "not_wanted": not_wanted.get(source.name, 0),
        }
    return {
        "sources": sources,
        "together": [[*pair, number] for pair, number in _most(counts.together)[:50]],
        "languages": _languages(counts)["all"],
        "scorecard": scorecard(counts.scores, counts.spreads),
    }


def _most(counted: Mapping[Any, int]) -> list[tuple[Any, int]]:
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def _funnel(counts: Counts, total: Mapping[str, int]) -> list[dict[str, Any]]:
    """The steps from all records to the rows of the release; what is lost on the way is said in the step."""
    tokens = {fate: sum(counts.fates[key] for key in counts.fates if key[1:] == (fate, "tokens")) for fate in FATES}
    released = {what: sum(number for (_, name), number in counts.released.items() if name == what)
                for what in _RELEASED}  # fmt: skip
    pulled, kept = total["documents"], total["kept"]
    readable, passed = pulled - total["errors"], kept + total["duplicates"]
    steps = [
        ("Pulled", "records of the inputs", pulled, sum(tokens.values()), None, None),
        ("Readable", "could be read", readable, sum(tokens.values()) - tokens["errors"], total["errors"], "errors"),
        ("Passed the rules", "no rule hit them", passed, tokens["kept"] + tokens["duplicates"],
         total["dropped"], "dropped"),
        ("Kept", "no better copy stays", kept, tokens["kept"], total["duplicates"], "duplicates"),
        ("In the blend", "each counted once, after edits", released["documents"], released["once"],
         kept - released["documents"], "kept"),
        ("Released", "rows, with repetitions", released["rows"], released["tokens"], None, None),
    ]  # fmt: skip
    most = max((step[2] for step in steps), default=0), max((step[3] for step in steps), default=0)
    return [
        {
            "name": name, "what": what, "documents": documents, "tokens": number, "lost": lost, "fate": fate,
            "width": percent(documents, most[0]), "token_width": percent(number, most[1]),
        }
        for name, what, documents, number, lost, fate in steps
    ]  # fmt: skip


def _sources(run: Run, counts: Counts, total: Mapping[str, int]) -> list[dict[str, Any]]:
    """A row for each source in the order of the recipe, and one for all where there are several."""
    rows = []
    sizes: dict[str, list[int]] = {source.name: [] for source in run.recipe.source}
    for file in run.inputs:
        sizes[file["source"]].append(file["bytes"])
    for source in run.recipe.source:
        files = sizes[source.name]
        judged = run.figures["judge"]["sources"][source.name]
        released = {what: counts.released[source.name, what] for what in _RELEASED}
        tokens = {fate: counts.fates[source.name, fate, "tokens"] for fate in FATES}
        rows.append(
            {
                "name": source.name,
                "kind": source.kind,
                "license": source.license,
                "files": len(files),
                "bytes": sum(files),
                **{key: judged[key] for key in total},
                "tokens": {**tokens, "documents": sum(tokens.values())},
                "released": released,
                "bar": stacked(judged),
            }
        )
    shown = rows[:SOURCES]
    if len(rows) > 1:
        shown.append({
            "name": "all sources", "kind": None, "license": None,
            "files": sum(row["files"] for row in rows), "bytes": sum(row["bytes"] for row in rows), **total,
            "tokens": {key: sum(row["tokens"][key] for row in rows) for key in ("documents", *FATES)},
            "released": {key: sum(row["released"][key] for row in rows) for key in _RELEASED},
            "bar": stacked(total),
        })  # fmt: skip
    return shown


def _changes(run: Run, counts: Counts) -> dict[str, Any] | None:
    """Against the last release, if there is one."""
    old = changes.last(run)
    if old is None:
        return None
    counted = facts(run, counts)
    now = {
        "documents": run.figures["blend"]["documents"],
        "rows": sum(source["released_rows"] for source in counted["sources"].values()),
        "tokens": run.figures["blend"]["tokens"],
        "recipe": run.recipe.semantic(),
        "groups": run.figures["blend"]["groups"],
        "inputs": run.inputs,
        "software": f"curate {__version__}",
        "sources": [
            {"name": name, **judged, **counted["sources"][name]}
            for name, judged in run.figures["judge"]["sources"].items()
        ],
    }
    return changes.changes(old, now)


def _hits(
    judged: Mapping[str, Any], counts: Counts, rules: Mapping[str, ruling.Rule], readable: int
) -> list[dict[str, Any]]:
    """What was dropped by each rule and built-in reason that hit something, the busiest first."""
    rows = []
    most = max(judged["rules"].values(), default=0)
    for name, hits in _most(judged["rules"]):
        rule = rules.get(name)
        alone = sum(number for (_, reason), number in counts.alone.items() if reason == name)
        by_source = {source: counted["rules"].get(name, 0) for source, counted in judged["sources"].items()}
        rows.append(
            {
                "name": name,
                "predicate": rule.predicate if rule else None,
                "what": None if rule else BUILT_IN.get(name, ""),
                "origin": rule.origin if rule else "built in",
                "count": hits,
                "alone": alone,
                "share": share(hits, readable),
                "width": percent(hits, most),
                "alone_width": percent(alone, most),
                "sources": _most({source: number for source, number in by_source.items() if number}),
            }
        )
    return rows


def _together(judged: Mapping[str, Any], counts: Counts) -> dict[str, Any]:
    """The pairs of reasons that hit the same documents most often."""
    hits = judged["rules"]
    pairs = _most(counts.together)
    most = pairs[0][1] if pairs else 0
    rows = [
        {
            "names": pair,
            "count": number,
            "width": percent(number, most),
            "rarer": min(pair, key=lambda name: (hits[name], name)),
            "share": share(number, min(hits[name] for name in pair)),
        }
        for pair, number in pairs[:PAIRS]
    ]
    return {"rows": rows, "more": max(0, len(pairs) - PAIRS)}


def _figures(run: Run, counts: Counts, rules: Mapping[str, ruling.Rule]) -> list[dict[str, Any]]:
    """The distribution of each column that is compared with a number, those of the busiest rules first."""
    hits = run.figures["judge"]["rules"]
    found: dict[str, list[Threshold]] = {column: [] for column in counts.cells}
    for threshold in thresholds_of(run):
        found.setdefault(threshold.column, []).append(threshold)
    figures = []
    for column, here in found.items():
        whole = pa.types.is_integer(run.work.row.field(column).type)
        drawn = histogram(counts.cells.get(column, {}), here, whole=whole)
        if drawn is not None:
            names = dict.fromkeys(threshold.rule for threshold in here)
            busy = max((hits.get(name, 0) for name in names), default=-1)
            said = [{"rule": rules[name], "hits": hits.get(name, 0)} for name in names]
            figures.append({"column": column, "rules": said, "busy": busy, **drawn})
    return sorted(figures, key=lambda figure: (-figure["busy"], figure["column"]))


def _undrawn(run: Run, rules: Mapping[str, ruling.Rule]) -> list[dict[str, Any]]:
    """The rules that compare no numeric column with a number."""
    drawn = {threshold.rule for threshold in thresholds_of(run)}
    hits = run.figures["judge"]["rules"]
    return [{"rule": rule, "hits": hits.get(name, 0)} for name, rule in rules.items() if name not in drawn]


def _clusters(copies: Duplicates) -> dict[str, Any]:
    """How many clusters there are of which size, and how similar what went was."""
    steps: list[dict[str, Any]] = []
    for low, above in zip(_CLUSTERS, [*_CLUSTERS[1:], None], strict=True):
        number = sum(many for size, many in copies.sizes if low <= size and (above is None or size < above))
        if number:
            last = " and more" if above is None else f"-{above - 1:,}" if above > low + 1 else ""
            steps.append({"name": f"{low:,}{last}", "count": number})
    most = max((step["count"] for step in steps), default=0)
    similar: list[dict[str, Any]] = [
        {"name": "1" if step == 20 else f"{step / 20:.2f}-{(step + 1) / 20:.2f}", "count": number}
        for step, number in copies.similar
    ]
    many = max((step["count"] for step in similar), default=0)
    return {
        "number": sum(many for _, many in copies.sizes),
        "sizes": [{**step, "width": percent(step["count"], most)} for step in steps],
        "similar": [{**step, "width": percent(step["count"], many)} for step in similar],
    }


def _losing(run: Run) -> list[dict[str, Any]]:
    """The sources that lose most to deduplication, by the share of what passed the rules."""
    rows: list[dict[str, Any]] = []
    for name, judged in run.figures["judge"]["sources"].items():
        passed = judged["kept"] + judged["duplicates"]
        if judged["duplicates"]:
            rows.append({
                "name": name, "duplicates": judged["duplicates"], "passed": passed,
                "share": share(judged["duplicates"], passed), "width": percent(judged["duplicates"], passed),
            })  # fmt: skip
    return sorted(rows, key=lambda row: (-row["width"], row["name"]))[:10]


def _outside(run: Run) -> list[dict[str, Any]]:
    """The entries of `dedup.against`: how many documents each has, and how many went as copies of them."""
    judged = run.figures["judge"]["against"]
    rows: list[dict[str, Any]] = []
    for entry, measured in run.figures["measure"]["against"].items():
        duplicates = sum(judged[entry].values())
        rows.append({"name": measured["name"], "documents": measured["documents"], "duplicates": duplicates})
    most = max((row["duplicates"] for row in rows), default=0)
    return [{**row, "width": percent(row["duplicates"], most)} for row in rows]


def _groups(blended: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each group with its bar, and why it gives something else than it was asked for."""
    most = max((max(group["tokens"], group["asked_tokens"] or 0) for group in blended["groups"]), default=0) or 1
    rows = []
    for group in blended["groups"]:
        asked, tokens, why = group["asked_tokens"], group["tokens"], group["why"]
        if why is None:
            free = "no budget: everything, once" if blended["asked_tokens"] is None else "what its bounds leave it"
            why = free if asked is None else "as asked"
            if asked is not None and tokens != asked:
                why = "as asked, to the document: the next one would go over"
        rows.append(
            {
                **group,
                "why": why,
                "differs": asked is not None and tokens < 0.99 * asked,
                "width": percent(tokens, most),
                "mark": None if asked is None else percent(asked, most),
            }
        )
    return rows


def _repetition(counts: Counts) -> list[dict[str, Any]]:
    """For each group how many documents stand how often; nothing where each stands once."""
    if all(copies == 1 for _, copies in counts.copies):
        return []
    groups: dict[str, list[tuple[int, int]]] = {}
    for (group, copies), documents in sorted(counts.copies.items()):
        groups.setdefault(group, []).append((copies, documents))
    return [{"name": name, "copies": copies} for name, copies in groups.items()]


def _languages(counts: Counts) -> dict[str, Any]:
    """Documents and tokens by language, those with most kept tokens first."""
    names = dict.fromkeys(language for language, _ in counts.languages)
    what = ("documents", "tokens", "kept", "kept_tokens")
    rows: list[dict[str, Any]] = [
        {"language": name, **{key: counts.languages[name, key] for key in what}} for name in names
    ]
    rows.sort(key=lambda row: (-row["kept_tokens"], -row["tokens"], row["language"]))
    return {
        "all": rows,
        "rows": rows[:LANGUAGES],
        "number": len(rows),
        "kept_tokens": sum(row["kept_tokens"] for row in rows),
        "rest": {key: sum(row[key] for row in rows[LANGUAGES:]) for key in what},
    }


def _domains(counts: Counts) -> dict[str, Any]:
    """The registered domains with most kept tokens."""
    number, rows = domains(counts, DOMAINS)
    kept = sum(tokens for (_, fate, what), tokens in counts.fates.items() if (fate, what) == ("kept", "tokens"))
    return {
        "number": number,
        "kept_tokens": kept,
        "rows": [
            {"name": name, "documents": documents, "kept": stayed, "tokens": tokens, "width": percent(tokens, kept)}
            for name, documents, stayed, tokens in rows
        ],
    }


def _contamination(run: Run, counts: Counts) -> dict[str, Any] | None:
    """How well benchmark items are found, and how many documents hold some; None where none are looked for."""
    tried = run.figures.get("measure", {}).get("decontamination")
    if tried is None:
        return None
    ways = [
        {"name": name, "planted": planted, "found": tried["found"][name]} for name, planted in tried["planted"].items()
    ]
    sources = [
        {"name": source.name, **{key: counts.contaminated[source.name, key] for key in ("documents", "kept")}}
        for source in run.recipe.source
        if counts.contaminated[source.name, "documents"]
    ]
    return {**tried, "ways": ways, "sources": sources}


def _pii(run: Run, counts: Counts) -> dict[str, Any]:
    """Kept documents with personal data, and how much of it, by source and kind."""
    columns = list(dict.fromkeys(column for _, column, _ in counts.pii))
    rows = [
        {
            "name": source.name,
            "counts": [(counts.pii[source.name, column, "documents"], counts.pii[source.name, column, "occurrences"])
                       for column in columns],
        }
        for source in run.recipe.source
        if any(counts.pii[source.name, column, "documents"] for column in columns)
    ]  # fmt: skip
    return {
        "is_on": "pii" in run.work.signals,
        "columns": [name.removesuffix("_count") for name in columns],
        "rows": rows,
    }


def _samples(
    run: Run, counts: Counts, copies: Duplicates, rules: Mapping[str, ruling.Rule]
) -> dict[str, list[dict[str, Any]]]:
    """What is shown of documents, by kind; those first that say most about the rules."""
    hits = run.figures["judge"]["rules"]
    alone = {name: sum(many for (_, reason), many in counts.alone.items() if reason == name) for name in rules}
    borders: dict[tuple[str, str, str], list[Kind]] = {}
    for kind in sorted(counts.candidates):
        if kind[0] == "borderline":
            borders.setdefault((kind[1], kind[2], kind[3]), []).append(kind)
    chosen = sorted(borders, key=lambda border: (-alone[border[0]], -hits.get(border[0], 0), border))[:BORDERLINE_RULES]
    sources = [source.name for source in run.recipe.source]
    kept = [("kept", name) for name in sources if ("kept", name) in counts.candidates][: _KEPT[0]]
    dropped = [("dropped", reason) for reason, _ in _most(hits)][: _DROPPED[0]]
    errors = [("errors", name) for name in sources if ("errors", name) in counts.candidates][: _ERRORS[0]]
    paired = [("wanted", document) for document in copies.ids]
    wanted = [
        *((kind, _KEPT[1]) for kind in kept),
        *((kind, 1) for kind in paired),
        *((kind, 2) for border in chosen for kind in borders[border]),
        *((kind, _DROPPED[1]) for kind in dropped),
        *((kind, _ERRORS[1]) for kind in errors),
    ]
    found = samples(run, counts, wanted)
    one = {kind[1]: shown[0] for kind, shown in found.items() if kind[0] == "wanted" and shown}
    used = {name: ruling.columns_in(rule.predicate, run.work) for name, rule in rules.items()}
    return {
        "kept": [{"columns": (), "documents": found[kind]} for kind in kept],
        "borderline": [_border(border, borders[border], found, rules) for border in chosen],
        "dropped": [
            {"name": kind[1], "rule": rules.get(kind[1]), "columns": used.get(kind[1], ()), "documents": found[kind]}
            for kind in dropped if found[kind]
        ],
        "errors": [{"columns": (), "documents": found[kind]} for kind in errors],
        "pairs": [
            {"gone": one[gone], "kept": one[stayed], "similarity": similarity}
            for gone, stayed, similarity in copies.pairs if gone in one and stayed in one
        ],
        "clusters": [{"size": size, "document": one[document]} for document, size in copies.largest if document in one],
    }  # fmt: skip


def _border(
    border: tuple[str, str, str], kinds: Sequence[Kind], found: Mapping[Kind, list[Sample]],
    rules: Mapping[str, ruling.Rule],
) -> dict[str, Any]:  # fmt: skip
    name, column, bound = border
    documents = [sample for kind in kinds for sample in found[kind]]
    documents.sort(key=lambda sample: (sample.values[column], sample.id))
    return {"rule": rules[name], "column": column, "bound": float(bound), "documents": documents}
