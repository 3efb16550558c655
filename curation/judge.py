"""judge: every document's verdict. First the rules, then, among what passed them, one of each set of copies.

Reads columns, never text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import rules as ruling
from curation.compare import pairs_fingerprint, rows_of
from curation.copies import Gone, gone
from curation.dataset import Part, Workspace, connect, fingerprint, first_row
from curation.engine import chunks
from curation.errors import RuleError, WipeOutError
from curation.stable import basis

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from curation.recipe import Recipe
    from curation.rules import Edits, Rule
    from curation.run import Run

#: Raised when the same columns and rules give other verdicts.
VERSION = 4


@dataclass(frozen=True, slots=True)
class Rulings:
    """Parts to apply the rules to, each with the fingerprint of the hits to write."""

    work: Workspace
    rules: tuple[Rule, ...]
    edits: Edits
    parts: list[tuple[Part, str]]

    @property
    def columns(self) -> list[str]:
        """What to read of the parts."""
        return ["error", "byte_count", *ruling.columns_in(ruling.query(self.rules, self.edits), self.work)]

    def __str__(self) -> str:
        return ", ".join(str(part) for part, _ in self.parts)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Parts to write verdicts for, each with what it is made from and the number of its first document; who goes."""

    work: Workspace
    parts: list[tuple[Part, str, int]]
    gone: Gone

    def __str__(self) -> str:
        return ", ".join(str(part) for part, _, _ in self.parts)


@dataclass(frozen=True, slots=True)
class Counted:
    """Parts of a source whose verdicts are to be counted."""

    work: Workspace
    source: str
    parts: list[Part]

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


def judge(run: Run) -> dict[str, Any]:
    """Make `verdicts`.

    Raises `RuleError` when a rule is null for a document, and `WipeOutError` when a source would lose more to
    deduplication than the recipe allows.
    """
    hits = _apply_rules(run)
    run.verdicts_from = wanted = verdicts_from(run, hits)
    if run.basis is not None:
        stays = run.basis.release
        run.progress.line(
            f"  stable: what release {stays.version} holds stays" if stays else "  stable: there is no release yet"
        )
    if missing := run.work.verdicts.not_made(wanted):
        write_verdicts(run, missing, gone(run, passed(run.work, run.parts)))
    figures = _figures(run)
    _refuse_wipe_out(run, figures)
    _alarms(run, figures)
    return figures


def hits_from(run: Run) -> dict[Part, str]:
    """What each part's hits are made from: the rules, and the sidecars that they look at."""
    sql = ruling.query(ruling.rules_of(run.recipe), ruling.edits_of(run.recipe))
    names = _signals_in(run.work, sql)
    return {
        part: fingerprint("hits", VERSION, sql, documents.fingerprint, [run.signals_from[part][name] for name in names])
        for part, documents in run.parts.items()
    }


def verdicts_from(run: Run, hits: dict[Part, str]) -> dict[Part, str]:
    """What each part's verdicts are made from: all hits, the pairs, what is preferred, and what stays, `run.basis`."""
    dedup = run.recipe.dedup
    pairs = pairs_fingerprint(run) if dedup.enabled else None
    made_from = fingerprint("verdicts", VERSION, pairs, _preference(run), list(hits.values()))
    if dedup.stable and dedup.enabled:
        run.basis = basis(run.recipe, made_from)
        made_from = fingerprint(made_from, "stable", run.basis.manifest_sha256)
    return {part: fingerprint(made_from, hit) for part, hit in hits.items()}


def _apply_rules(run: Run) -> dict[Part, str]:
    """Make `hits` where missing; the fingerprint of each part's."""
    rules, edits = ruling.rules_of(run.recipe), ruling.edits_of(run.recipe)
    made_from = hits_from(run)
    missing = list(run.work.hits.not_made(made_from).items())
    sizes = [run.parts[part].rows for part, _ in missing]
    tasks = [Rulings(run.work, rules, edits, group) for group in chunks(missing, sizes, 100_000)]
    weights = [sum(run.parts[part].rows for part, _ in task.parts) for task in tasks]
    run.engine.map(_rule_all, tasks, label="judge: rules", sizes=weights, unit="documents", little=run.is_little)
    return made_from


def _preference(run: Run) -> list[Any]:
    """What the order of preference depends on besides the rules: its text, and the sidecars that it reads."""
    prefer = run.recipe.dedup.prefer
    names = _signals_in(run.work, prefer)
    return [prefer, [run.signals_from[part][name] for part in run.parts for name in names]]


def _signals_in(work: Workspace, sql: str) -> list[str]:
    """The sidecars that an expression reads, as `Run.signals_from` names them."""
    datasets = {work.columns[name].name for name in ruling.columns_in(sql, work)} | {"signals/length"}
    names = [name for name in work.signals if f"signals/{name}" in datasets]
    return [*names, *(dataset.name for dataset in work.corpus.values() if dataset.name in datasets)]


def _rule_all(task: Rulings) -> None:
    tables = [task.work.read(part, task.columns) for part, _ in task.parts]
    judged = ruled(task, pa.concat_tables(tables))
    start = 0
    for (part, made_from), table in zip(task.parts, tables, strict=True):
        task.work.hits.write(part, judged.slice(start, table.num_rows).select(["id", "reasons"]), made_from)
        start += table.num_rows


def ruled(task: Rulings, rows: pa.Table) -> pa.Table:
    """What the task's rules say of rows with its columns: `id`, `reasons` and `unanswered` for each.

    Raises `RuleError` where a rule has no answer or cannot be computed.
    """
    connection = connect(task.work)
    connection.register("documents", rows)
    try:
        judged = connection.sql(ruling.query(task.rules, task.edits)).to_arrow_table()
    except duckdb.Error as error:
        raise _failed_rule(connection, task, error) from error
    if not judged["id"].equals(rows["id"]):
        raise RuleError(f"{task}: the rules returned other rows than they were given")
    _refuse_nulls(judged, task, rows)
    return judged


def _failed_rule(connection: duckdb.DuckDBPyConnection, task: Rulings, error: duckdb.Error) -> RuleError:
    """The message that names the rule that cannot be computed, found by trying each alone."""
    place = "the rules"
    for rule in task.rules:
        try:
            connection.execute(ruling.query((rule,), task.edits)).fetchall()
        except duckdb.Error as its_own:
            place, error = f"rules.{rule.name}", its_own
            break
    return RuleError(
        f"{place}: cannot be computed for a document of {_sources(task)}: {str(error).splitlines()[0]}",
        remedy="for a cast that may fail write try_cast(… as …), which is null then, and coalesce what may be null",
    )


def _sources(task: Rulings) -> str:
    return " or ".join(dict.fromkeys(part.source for part, _ in task.parts))


def _refuse_nulls(judged: pa.Table, task: Rulings, rows: pa.Table) -> None:
    silent = pc.greater(pc.list_value_length(judged["unanswered"]), 0)
    row = pc.index(silent, value=True).as_py()
    if row >= 0:
        name = judged["unanswered"][row].as_py()[0]
        rule = next(rule for rule in task.rules if rule.name == name)
        used = ruling.columns_in(rule.predicate, task.work)
        empty = [column for column in used if rows[column][row].as_py() is None]
        which = ", ".join(empty) or "an expression in it"
        raise RuleError(
            f"rules.{rule.name}: no answer for document {judged['id'][row]} of {_sources(task)}: {which} is null in "
            f"{rule.predicate!r}",
            remedy=f'say what holds for null, for example: {rule.name} = "coalesce({empty[0] if empty else "…"}, …) …"',
        )


def passed(work: Workspace, parts: Iterable[Part]) -> NDArray[np.bool_]:
    """For each document of these parts whether no rule hit it."""
    found = [pc.equal(pc.list_value_length(work.hits.read(part, ["reasons"])["reasons"]), 0) for part in parts]
    return np.concatenate([np.empty(0, np.bool_), *(column.to_numpy() for column in found)])


def write_verdicts(run: Run, wanted: dict[Part, str], gone: Gone) -> None:
    """Write these parts of `verdicts`: `wanted` says what each is made from, `gone` who is a copy of whom."""
    starts = dict(zip(run.parts, rows_of(run).starts.tolist(), strict=False))
    parts = list(wanted)
    tasks = []
    for group in chunks(parts, [run.parts[part].rows for part in parts], 100_000):
        end = starts[group[-1]] + run.parts[group[-1]].rows
        mine = gone.between(starts[group[0]], end)
        tasks.append(Verdicts(run.work, [(part, wanted[part], starts[part]) for part in group], mine))
    run.engine.map(_write_all, tasks, label="judge: verdicts", little=run.is_little)


def _write_all(task: Verdicts) -> None:
    for part, made_from, start in task.parts:
        hits = task.work.hits.read(part)
        copies = task.gone.beside(start, hits.num_rows)
        passed = pc.equal(pc.list_value_length(hits["reasons"]), 0)
        keep = pc.and_(passed, pc.is_null(copies["duplicate_of"]))
        table = pa.table({"id": hits["id"], "keep": keep, "reasons": hits["reasons"], **copies})
        task.work.verdicts.write(part, table, made_from)


def _figures(run: Run) -> dict[str, Any]:
    """Documents by source and fate, by rule, and copies of documents from outside by entry and source."""
    names = ("documents", "errors", "dropped", "duplicates", "kept")
    tasks = [
        Counted(run.work, source.name, group)
        for source in run.recipe.source
        if (mine := [part for part in run.parts if part.source == source.name])
        for group in chunks(mine, [run.parts[part].rows for part in mine], 1_000_000)
    ]
    counted = run.engine.map(_count, tasks, label="judge: count", little=run.is_little)
    fates: dict[str, Counter[str]] = {source.name: Counter(dict.fromkeys(names, 0)) for source in run.recipe.source}
    by_rule: dict[str, Counter[str]] = {source.name: Counter() for source in run.recipe.source}
    outside: dict[str, Counter[str]] = {source.name: Counter() for source in run.recipe.source}
    for task, (numbers, rules, found) in zip(tasks, counted, strict=True):
        fates[task.source].update(dict(zip(names, numbers, strict=True)))
        by_rule[task.source].update(rules)
        outside[task.source].update(found)
    entries = run.recipe.dedup.against if run.recipe.dedup.enabled else []
    return {
        "sources": {name: {**fate, "rules": dict(sorted(by_rule[name].items()))} for name, fate in fates.items()},
        "rules": dict(sorted(sum(by_rule.values(), Counter()).items())),
        "against": {
            entry: {name: counts[entry] for name, counts in outside.items() if entry in counts} for entry in entries
        },
        "stable": run.basis.release.version if run.basis and run.basis.release else None,
    }


def _count(task: Counted) -> tuple[tuple[int, ...], dict[str, int], dict[str, int]]:
    """How many documents, by fate; how many of them each rule hit, and each entry from outside has."""
    columns = ["keep", "reasons", "duplicate_of", "duplicate_in"]
    connection = connect(task.work)
    connection.register("mine", pa.concat_tables(task.work.verdicts.read(part, columns) for part in task.parts))
    fates = first_row(
        connection,
        f"""
        SELECT count(*), count(*) FILTER (reasons = ['{ruling.UNREADABLE}']),
            count(*) FILTER (len(reasons) > 0 AND reasons <> ['{ruling.UNREADABLE}']),
            count(duplicate_of), count(*) FILTER (keep)
        FROM mine
    """,
    )
    by_rule = connection.execute(f"""
        SELECT reason, count(*) FROM (SELECT unnest(reasons) AS reason FROM mine)
        WHERE reason <> '{ruling.UNREADABLE}' GROUP BY reason
    """).fetchall()
    outside = connection.execute("""
        SELECT duplicate_in, count(*) FROM mine WHERE duplicate_in IS NOT NULL GROUP BY duplicate_in
    """).fetchall()
    return fates, dict(by_rule), dict(outside)


def _refuse_wipe_out(run: Run, figures: dict[str, Any]) -> None:
    faults, remedies = [], []
    for source in run.recipe.source:
        counts = figures["sources"][source.name]
        passed = counts["duplicates"] + counts["kept"]
        most = run.recipe.dedup.max_loss if source.max_loss is None else source.max_loss
        if counts["duplicates"] > most * passed:
            share = counts["duplicates"] / passed
            outside = [f"{found[source.name]:,} of them of documents in {entry}"
                       for entry, found in figures["against"].items() if source.name in found]  # fmt: skip
            faults.append(
                f"source {source.name}: {counts['duplicates']:,} of the {passed:,} documents that passed the rules "
                f"({share:.0%}) are copies of kept ones"
                + (f", {', '.join(outside)}" if outside else "")
                + f"; at most {most:.0%} may go"
            )
            remedies.append(f"max_loss = {_round_up(share)} in [[source]] {source.name}")
    if faults:
        columns = "duplicate_in, duplicate_of" if figures["against"] else "duplicate_of"
        raise WipeOutError(
            "\n".join(faults),
            remedy=f'look at them: curate sql {run.recipe.shown} "select {columns}, count(*) from verdicts '
            'where duplicate_of is not null group by all order by count(*) desc"; if that is right, set '
            + ", ".join(remedies),
        )


def _round_up(share: float) -> float:
    return min(1.0, int(share * 20 + 1) / 20)


def _alarms(run: Run, figures: dict[str, Any]) -> None:
    readable = sum(counts["documents"] - counts["errors"] for counts in figures["sources"].values())
    for name, hit in figures["rules"].items():
        if readable and hit > run.recipe.rules.alarm_share * readable:
            run.warn(f"rule {name} hit {hit:,} of {readable:,} documents ({hit / readable:.0%}): is that meant?")
    silent = [rule.name for rule in ruling.rules_of(run.recipe) if rule.name not in figures["rules"]]
    figures["silent_rules"] = silent
    if silent:
        run.warn(f"{len(silent)} of {len(ruling.rules_of(run.recipe))} rules hit nothing: {', '.join(silent)}")
    for name, counts in figures["sources"].items():
        _alarm_of_source(run, name, counts)
    if all(counts["kept"] == 0 for counts in figures["sources"].values()):
        run.warn("no document is kept")


def _alarm_of_source(run: Run, name: str, counts: dict[str, Any]) -> None:
    """Warn of a source that has no document, next to none that can be read, or none that is kept."""
    documents, errors = counts["documents"], counts["errors"]
    if not documents:
        not_wanted = run.figures.get("pull", {}).get("not_wanted", {}).get(name, 0)
        why = f": {not_wanted:,} were read and not wanted by its `where`" if not_wanted else ""
        run.warn(f"source {name} has no document{why}")
    elif errors > run.recipe.rules.alarm_share * documents:
        run.warn(
            f"source {name}: {errors:,} of {documents:,} documents cannot be read ({errors / documents:.0%}): "
            "are its kind and fields right?"
        )
    elif not counts["kept"]:
        run.warn(f"source {name}: of its {documents:,} documents none is kept")


def fate_of(reasons: list[str], duplicate_of: str | None) -> str:
    """What became of a document: error, dropped, duplicate or kept, in that precedence.

    >>> fate_of(["too_short"], None), fate_of([], None)
    ('dropped', 'kept')
    """
    if reasons == [ruling.UNREADABLE]:
        return "error"
    return "dropped" if reasons else "duplicate" if duplicate_of else "kept"


def rules_text(recipe: Recipe) -> str:
    """The query that judges, to read."""
    return ruling.query(ruling.rules_of(recipe), ruling.edits_of(recipe)).strip()
