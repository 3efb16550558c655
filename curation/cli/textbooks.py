"""`curate textbooks`: plan, export, import, and figures of what was written."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from curation.cli.options import JSON, RECIPE, SET, WORK
from curation.cli.printing import aligned, plain, shown
from curation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from curation.coverage import Coverage
    from curation.endpoint.service import Service
    from curation.recipe import Recipe
    from curation.textbooks.asking import Asking
    from curation.textbooks.checking import Acceptance
    from curation.textbooks.curriculum import Curriculum
    from curation.textbooks.planning import Plan


@click.group(short_help="Plan what a language model writes, and see what it wrote.")
def textbooks() -> None:
    """Plan textbooks that a language model writes where the corpus is thin, and see what it wrote.

    `curate run` carries a plan out: it is a source of kind "textbooks".
    """


@textbooks.command("curriculum")
@RECIPE
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The TOML file to write.")
@click.option("--topics", default=60, show_default=True, type=click.IntRange(1, 2_000), help="Topics at most.")
@SET
@WORK
def textbooks_curriculum(recipe: Path, out: Path, topics: int, overrides: tuple[str, ...], work: str | None) -> None:
    """Draw a curriculum from what RECIPE's last run kept: titles as topics, in units of documents that are alike.

    It is a draft to correct: the names of topics go into prompts.

    Example: curate textbooks curriculum recipe.toml --out curriculum.toml --topics 40
    """
    from curation import outline
    from curation.recipe import load
    from curation.textbooks import curriculum as curriculums

    if out.suffix != ".toml":
        raise UsageError(f"--out {out}: curricula are TOML", remedy=f"--out {out.with_suffix('.toml')}")
    if out.exists():
        raise UsageError(f"--out {out}: is there already, and may be corrected by hand", remedy="name a new file")
    out.write_text(outline.draw(load(recipe, overrides, work=work), topics), encoding="utf-8")
    drawn = curriculums.load(out)
    rows: list[tuple[Any, ...]] = [("unit", "topics", "the first")]
    rows += [(plain(unit.name), len(unit.topics), plain(unit.topics[0].name)) for unit in drawn.subjects[0].unit]
    click.echo("\n".join(aligned(rows)))
    click.echo(f"\n{len(drawn.topics):,} topics   {out}\nread it, correct it, then: curate textbooks plan "
               f"{recipe} --curriculum {out} --out plan.parquet --documents 100")  # fmt: skip


@textbooks.command("plan")
@RECIPE
@click.option("--curriculum", "curricula", required=True, metavar="NAME|FILE",
              help="What to write about: python, science, minds, stories, or a TOML file.")  # fmt: skip
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The plan to write.")
@click.option("--documents", type=click.IntRange(1), metavar="N", help="So many documents.")
@click.option("--tokens", type=click.IntRange(1), metavar="N", help="Documents of about so many tokens.")
@click.option("--endpoint", metavar="NAME", help="Whose prices count; that of the recipe's textbooks if left out.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of what is drawn.")
@click.option("--round", "round_size", default=200, show_default=True, type=click.IntRange(1, 10_000),
              help="Documents that are asked for at once.")  # fmt: skip
@SET
@WORK
@JSON
def textbooks_plan(
    recipe: Path, curricula: str, out: Path, documents: int | None, tokens: int | None, endpoint: str | None, seed: int,
    round_size: int, overrides: tuple[str, ...], work: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Draw the requests for what is to be written, most where RECIPE's last run has least, and write them to a file.

    A plan for more documents begins with the plan for fewer, so that what was written and paid stays.

    Example: curate textbooks plan recipe.toml --curriculum science --out plan.parquet --documents 1000
    """
    from curation.coverage import Coverage, coverage
    from curation.dataset import save
    from curation.recipe import load
    from curation.textbooks import curriculum as curriculums
    from curation.textbooks.figures import pace
    from curation.textbooks.planning import Order, plan

    if (documents is None) == (tokens is None):
        raise UsageError("how much is to be written?", remedy="name one of --documents and --tokens")
    if out.suffix != ".parquet":
        raise UsageError(f"--out {out}: plans are Parquet", remedy=f"--out {out.with_suffix('.parquet')}")
    loaded = load(recipe, overrides, work=work)
    asked = endpoint or next((source.endpoint for source in loaded.source if source.endpoint is not None), None)
    service = loaded.service(asked) if asked is not None else None
    curriculum = curriculums.load(curricula)
    found = coverage(loaded, curriculum)
    seen = found or Coverage()
    there = {name: topic.documents for name, topic in seen.topics.items()}
    table = plan(curriculum, Order(documents, tokens, seed, round_size, there, seen.seeds))
    save(table, out)
    told = _planned(table, curriculum, seen, service) | {"plan": str(out), "corpus_was_looked_at": found is not None}
    an_hour = pace(loaded.ledger(asked), service.model) if asked is not None and service is not None else None
    told["hours"] = round(told["output_tokens"] / an_hour, 4) if an_hour else None
    click.echo(json.dumps(told, indent=1) if as_json else "\n".join(_plan_lines(told, out)))


def _planned(table: pa.Table, curriculum: Curriculum, seen: Coverage, service: Service | None) -> dict[str, Any]:
    """What a plan holds: documents, requests, tokens and money, and the matrix of its cells."""
    from collections import Counter

    import pyarrow.compute as pc

    from curation.endpoint.service import UNIT, Cost, Request

    first = table.filter(pc.invert(table["is_spare"]))
    asked = Counter(first["cell"].to_pylist())
    output = pc.sum(first["tokens"]).as_py()
    most, characters = Cost(), 0
    for messages, tokens in zip(first["messages"].to_pylist(), first["max_tokens"].to_pylist(), strict=True):
        texts = tuple((one["role"], one["content"]) for one in messages)
        characters += sum(len(text) for _, text in texts)
        if service is not None:
            most += service.cost(Request(texts, tokens).most_input, tokens)
    cost = service.cost(characters // 4, output) if service else None
    kinds = _by_kind(first, curriculum, service) if service else {}
    cells: list[dict[str, Any]] = [
        {"subject": cell.subject, "unit": cell.unit, "topic": cell.topic.name, "audience": cell.audience,
         "kind": cell.kind, "share": round(cell.share, 6), "written": seen.written.get(cell.name, 0),
         "asked": asked[cell.name]}
        for cell in curriculum.cells
    ]  # fmt: skip
    topics = {}
    for _, _, topic in curriculum.topics:
        corpus = seen.topics.get(topic.name)
        own = [cell for cell in cells if cell["topic"] == topic.name]
        topics[topic.name] = {
            "corpus": corpus.documents if corpus else 0, "corpus_tokens": corpus.tokens if corpus else 0,
            "corpus_score": corpus.score if corpus else None, "written": sum(cell["written"] for cell in own),
            **{kind: sum(cell["asked"] for cell in own if cell["kind"] == kind) for kind in curriculum.kinds},
        }  # fmt: skip
    return {
        "curriculum": curriculum.name, "documents": first.num_rows, "requests": table.num_rows,
        "input_tokens": characters // 4, "output_tokens": output, "cost": cost.money / UNIT if cost else None,
        "most_cost": most.money / UNIT if service else None,
        "temperature": service.parameters.get("temperature") if service else None, "topics": topics, "kinds": kinds,
        "cells": cells,
    }  # fmt: skip


def _by_kind(first: pa.Table, curriculum: Curriculum, service: Service) -> dict[str, Any]:
    """What the documents of each kind cost, and its budget."""
    import pyarrow.compute as pc

    from curation.endpoint.service import UNIT

    found = {}
    for kind in curriculum.kinds:
        rows = first.filter(pc.equal(first["kind"], kind))
        sent = sum(len(one["content"]) for messages in rows["messages"].to_pylist() for one in messages)
        cost = service.cost(sent // 4, pc.sum(rows["tokens"]).as_py() or 0)
        found[kind] = {
            "documents": rows.num_rows, "output_tokens": cost.output_tokens, "cost": cost.money / UNIT,
            "budget": service.budgets.get(kind),
        }  # fmt: skip
    return found


def _plan_lines(told: dict[str, Any], out: Path) -> list[str]:
    """A plan, as a person reads it: the matrix with its audiences added up, then what it takes."""
    kinds = [name for name in next(iter(told["topics"].values())) if not name.startswith(("corpus", "written"))]
    rows: list[tuple[Any, ...]] = [("topic", "in the corpus", "tokens", "score", "written", *(f"+{k}" for k in kinds))]
    for name, topic in told["topics"].items():
        score = "-" if topic["corpus_score"] is None else shown(topic["corpus_score"])
        counts = (topic[kind] or "·" for kind in kinds)
        rows.append((plain(name), topic["corpus"], topic["corpus_tokens"], score, topic["written"], *counts))
    lines = [*aligned(rows), ""]
    if not told["corpus_was_looked_at"]:
        lines.append("nothing was run yet, so all topics count as missing alike")
    lines.append(
        f"{told['documents']:,} documents of about {told['output_tokens']:,} tokens, "
        f"prompts of about {told['input_tokens']:,}; {told['requests'] - told['documents']:,} spare requests"
    )
    if told["cost"] is not None:
        costs: list[tuple[Any, ...]] = [("kind", "documents", "tokens", "cost about", "budget")]
        for kind, one in told["kinds"].items():
            budget = "-" if one["budget"] is None else f"{one['budget']:g}"
            costs.append((plain(kind), one["documents"], one["output_tokens"], f"{one['cost']:,.4f}", budget))
        lines = [*lines[:-1], *aligned(costs), "", lines[-1]]
        lines.append(
            f"cost about {told['cost']:,.4f}, at most {told['most_cost']:,.4f} if no answer is refused; "
            "the endpoint's budget holds in any case"
        )
    if told["hours"] is not None:
        lines.append(f"{told['hours']:,.2g} hours, as fast as the ledger's answers came so far")
    elif told["cost"] is not None:
        lines.append("how many hours that takes is known once the ledger has answers")
    if told["temperature"] == 0:
        lines.append(
            "warning: the endpoint's temperature is 0, and a model repeats itself: parameters = { temperature = 1.0 }"
        )
    return [*lines, "", f"plan   {out}", 'use it with [[source]] kind = "textbooks"']


@textbooks.command("stats")
@click.argument("place", metavar="RECIPE|PLAN", type=click.Path(path_type=Path))
@SET
@WORK
@JSON
def textbooks_stats(place: Path, overrides: tuple[str, ...], work: str | None, as_json: bool) -> None:
    """How much differs what was written by RECIPE's plans, what was refused and why, what it cost, who can read it.

    It reads the ledger and asks nothing. Of a PLAN it says how much differs what is asked.

    Example: curate textbooks stats recipe.toml
    """
    from curation.recipe import load
    from curation.textbooks import planning
    from curation.textbooks.diversity import diversity
    from curation.textbooks.figures import written

    if place.suffix == ".parquet":
        table = planning.read(place).table
        prompts = [messages[-1]["content"] for messages in table["messages"].to_pylist()]
        told: dict[str, Any] = {"prompts": asdict(diversity(prompts))}
    else:
        told = {}
        for source, plan, asking, acceptance in _plans(load(place, overrides, work=work)):
            with asking, acceptance.checker(asking.folder) as checker:
                told[source] = written(plan, asking.service.model, asking.answers, checker)
    lines = [line for name, one in told.items() for line in _stats_lines(name, one)]
    click.echo(json.dumps(told, indent=1) if as_json else "\n".join(lines))


def _plans(recipe: Recipe) -> Iterator[tuple[str, Plan, Asking, Acceptance]]:
    """Every plan of a recipe by the name of its source and file, its ledger, not to be asked, and what is taken."""
    from curation.pull import inputs_of
    from curation.textbooks import planning
    from curation.textbooks.asking import Asking
    from curation.textbooks.checking import Acceptance

    sources = [source for source in recipe.source if source.endpoint is not None]
    if not sources:
        raise UsageError(
            f"{recipe.path}: there is no source of kind textbooks",
            remedy='add one: [[source]] with kind = "textbooks", paths = ["plan.parquet"] and endpoint = "writer"',
        )
    for source in sources:
        for file in inputs_of(recipe, source):
            with file.open() as stream:
                plan = planning.read(stream, file.path)
            name = source.endpoint or ""
            asking = Asking(recipe.service(name), recipe.ledger(name), asks=False)
            yield f"{source.name}: {file.name}", plan, asking, Acceptance.of(recipe, source)


def _stats_lines(name: str, told: dict[str, Any]) -> list[str]:
    lines = [plain(name), ""]
    if "kinds" in told:
        rows: list[tuple[Any, ...]] = [
            ("kind", "prompt", "model", "answers", "accepted", "rate", "tokens", "cost", "per million tokens")
        ]
        for kind, one in told["kinds"].items():
            each = "-" if one["cost_per_million_tokens"] is None else f"{one['cost_per_million_tokens']:,.4f}"
            prompts = " ".join(label.rpartition("@")[2] for label in one["templates"])
            counts = (one["answers"], one["accepted"], f"{one['accept_rate']:.1%}", one["tokens"])
            rows.append((kind, prompts, plain(one["model"]), *counts, f"{one['cost']:,.4f}", each))
        lines += [f"{told['accepted']:,} of {told['wanted']:,} documents are there", "", *aligned(rows), ""]
        refused = [(f"{kind} {reason}", count) for kind, one in told["kinds"].items()
                   for reason, count in one["refused"].items()]  # fmt: skip
        lines += ["refused:", *(f"  {line}" for line in aligned(refused)), ""] if refused else []
        read = [(plain(audience), one["texts"], "-" if one["grade"] is None else f"{one['grade']:.1f}")
                for audience, one in told["audiences"].items()]  # fmt: skip
        lines += [*aligned([("audience", "texts", "school year"), *read]), ""] if read else []
    figures = told.get("diversity", told)
    shares = {name: value for name, value in figures.items() if not isinstance(value, list)}
    lines += aligned([(name.replace("_", " "), shown(value)) for name, value in shares.items()])
    lines.append("new runs of five words, by tenths: " + " ".join(f"{share:.2f}" for share in figures["novelty"]))
    return [*lines, ""]


@textbooks.command("export")
@RECIPE
@click.option("--to", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The JSONL to write.")
@SET
def textbooks_export(recipe: Path, to: Path, overrides: tuple[str, ...]) -> None:
    """Write the requests that are due to a file that providers take as a batch, for half the price as a rule.

    A batch is a round of each plan: bring its answers back with `import`, and export the next one, until there is none.

    Example: curate textbooks export recipe.toml --to batch.jsonl
    """
    from curation.endpoint.service import UNIT, Cost
    from curation.recipe import load
    from curation.textbooks import batches

    most, lines = Cost(), dict[str, str]()
    for _, plan, asking, acceptance in _plans(load(recipe, overrides)):
        with asking, acceptance.checker(asking.folder) as checker:
            due = batches.due(plan, asking, checker)
            lines |= {key: batches.line(key, asked, asking.service) for key, asked in due.items()}
            most += batches.most(due.values(), asking.service)
    if not lines:
        click.echo(f"nothing is due: curate run {recipe}")
        return
    to.write_text("".join(f"{line}\n" for line in lines.values()), encoding="utf-8")
    click.echo(f"{len(lines):,} requests, which cost {most.money / UNIT:,.4f} at most before a discount -> {to}")


@textbooks.command("import")
@RECIPE
@click.argument("answers", nargs=-1, required=True, type=click.Path(path_type=Path))
@SET
def textbooks_import(recipe: Path, answers: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Take the answers of a batch into the ledger: in any order, some of them, or twice.

    Example: curate textbooks import recipe.toml batch_output.jsonl
    """
    from curation.recipe import load
    from curation.textbooks import batches

    totals = batches.Taken()
    for _, plan, asking, acceptance in _plans(load(recipe, overrides)):
        with asking, acceptance.checker(asking.folder) as checker, ExitStack() as stack:
            files = [(path, stack.enter_context(_opened(path))) for path in answers]
            lines = ((f"{path}:{number}", line) for path, file in files for number, line in enumerate(file, start=1))
            found = batches.take(lines, batches.due(plan, asking, checker), asking)
        totals.taken += found.taken
        totals.known += found.known
        totals.unasked += found.unasked
        totals.failed += found.failed
    failed = "".join(f"; {count:,} failed: {plain(why)}" for why, count in sorted(totals.failed.items()))
    click.echo(f"{totals.taken:,} answers taken, {totals.known:,} were there, {totals.unasked:,} not asked for{failed}")
    click.echo(f"go on: curate textbooks export {recipe} --to batch.jsonl, or curate run {recipe} when nothing is due")


def _opened(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read: {error.strerror}", remedy="name the file that the provider gave"
        ) from error
