"""`curate plan`: what a run would read, need and cost; with --rule, what a changed rule would do."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from curation.cli.options import JSON, RECIPE, SET, WORK, WORKERS
from curation.cli.printing import aligned, plain, shown
from curation.errors import UsageError
from curation.progress import amount_of, duration_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from curation.plan import DedupPlan, GroupPlan, GroupTarget, ModelPlan, Plan
    from curation.scaling import Target
    from curation.whatif import Change, Effect, Sample, WhatIf


@click.command(short_help="What will a run cost? What would a rule do?")
@RECIPE
@click.option(
    "--rule", "rules", multiple=True, metavar="NAME=SQL", help="What would this rule do? NAME=false: and without it?"
)
@click.option(
    "--samples",
    default=5,
    show_default=True,
    type=click.IntRange(0, 100),
    help="With --rule: documents to show a side.",
)
@click.option("--parameters", metavar="N", help="What would a model of N parameters want? 125M, 1.3B, …")
@click.option("--flops", metavar="C", help="What is best trained with so many FLOPs? 1e21, …")
@SET
@WORK
@WORKERS
@JSON
def plan(
    recipe: Path,
    rules: tuple[str, ...],
    samples: int,
    parameters: str | None,
    flops: str | None,
    overrides: tuple[str, ...],
    work: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Tell what a run of RECIPE will read, need and cost, from samples; or what another rule would do to the last run.

    Nothing is written. The first takes a few seconds for each source, the second about a second for 100,000 documents.

    \b
    Example: curate plan my-textbook/recipe.toml
             curate plan my-textbook/recipe.toml --parameters 1.3B
             curate plan my-textbook/recipe.toml --rule low_value="education_score < 2"
    """  # noqa: D301  # click reads the backspace as: leave these lines as they are
    from curation.groups import groups_of
    from curation.recipe import load

    wanted = dict(_rule(text) for text in rules)
    models = _targets(parameters, flops)
    if wanted and models:
        raise UsageError("--rule with --parameters or --flops: the first is of the last run, the others of the next",
                         remedy="ask one after the other")  # fmt: skip
    loaded = load(recipe, overrides, work=work)
    answer: WhatIf | Plan
    if wanted:
        from curation.whatif import what_if

        answer = what_if(loaded, wanted, samples=samples)
        lines = _told(answer, wanted, recipe, overrides, work)
    else:
        from curation.plan import plan as planned

        answer = planned(loaded, workers, models)
        lines = _planned(answer)
    if as_json:
        click.echo(json.dumps(asdict(answer), indent=1, default=str))
        return
    for line in lines:
        click.echo(line)
    bounds = [f"max_per_domain of {group.name}" for group in groups_of(loaded) if group.max_per_domain is not None]
    bounds += [f"the limit {limit.name}" for limit in loaded.blend.limit]
    if bounds:
        click.echo(f"not counted: {', '.join(bounds)}; what stays may be less than is said")


def _planned(answer: Plan) -> Iterator[str]:
    yield (
        f"~ = estimated from a sample: {answer.sample_documents:,} documents in {amount_of(answer.sample_bytes)} of "
        f"input were read, {answer.sample_measured:,} of them measured"
    )
    yield ""
    head = (
        "source",
        "files",
        "size",
        "to read",
        "there",
        "~documents",
        "~text",
        "~errors",
        "~pass rules",
        "~tokens",
        "sample",
    )
    rows = [
        (one.name, one.files, amount_of(one.bytes), amount_of(one.bytes_to_read), one.documents_there, one.documents,
         amount_of(one.text_bytes), one.errors, one.kept, one.tokens, one.sampled)
        for one in answer.sources
    ]  # fmt: skip
    yield from aligned([head, *rows])
    yield ""
    if answer.against:
        entries = [
            (plain(one.entry), one.files, amount_of(one.bytes), amount_of(one.bytes_to_read)) for one in answer.against
        ]
        yield from aligned([("compared with", "files", "size", "to read"), *entries])
        yield ""
    groups = [
        (one.name, "-" if one.asked is None else one.asked, one.available, one.most, _enough(one))
        for one in answer.groups
    ]
    yield from aligned([("group", "tokens asked", "~there", "copies", ""), *groups])
    yield "copies of other documents are among these: a sample cannot tell how many"
    yield ""
    for model in answer.models:
        yield from _model(model)
        yield ""
    if answer.dedup:
        yield from _found(answer.dedup)
        yield ""
    seconds = [(stage, duration_of(one)) for stage, one in answer.seconds.items()]
    total = ("all", duration_of(sum(answer.seconds.values())))
    yield from aligned([("stage", f"~time, {answer.workers} workers"), *seconds, total])
    yield ""
    free = "" if answer.free_bytes is None else f", {amount_of(answer.free_bytes)} free"
    yield f"WORK    ~{amount_of(answer.work_bytes)} in {answer.work}{free}; parts there already: {answer.parts_there:,}"
    yield f"TO      ~{amount_of(answer.release_bytes)} in {answer.to}"
    few = "" if answer.memory_bytes <= answer.memory_free else ": too little, use fewer --workers"
    yield f"memory  up to {amount_of(answer.memory_bytes)} (2 GiB a worker), {amount_of(answer.memory_free)} free{few}"
    if answer.requests:
        yield "S3      " + ", ".join(f"~{count:,} {name}" for name, count in answer.requests.items())


def _targets(parameters: str | None, flops: str | None) -> list[Target]:
    """The models that are asked about; `UsageError` for what is no number, or both."""
    from curation.scaling import amount, targets

    if parameters is not None and flops is not None:
        raise UsageError("--parameters and --flops: one follows from the other", remedy="give one of them")
    for option, text in (("parameters", parameters), ("flops", flops)):
        if text is not None:
            try:
                return targets(**{option: amount(text)})
            except ValueError:
                raise UsageError(
                    f"--{option} {text}: expected a number above 0",
                    remedy="for example --parameters 1.3B, --flops 1e21",
                ) from None
    return []


def _model(model: ModelPlan) -> Iterator[str]:
    from curation.scaling import short

    target = model.target
    yield (
        f"{target.name}: {short(target.parameters)} parameters, {short(target.tokens)} tokens "
        f"({target.tokens / target.parameters:,.0f} a parameter: {target.source}), {target.flops:.2g} FLOPs"
    )
    rows = [
        (one.name, one.asked, one.available, "-" if one.passes is None else f"{one.passes:,.2f}", one.worth,
         _passes(one)) for one in model.groups
    ]  # fmt: skip
    rows.append(("all", sum(one.asked for one in model.groups), sum(one.available for one in model.groups), "",
                 model.worth, ""))  # fmt: skip
    yield from aligned([("group", "tokens asked", "~there", "~passes", "~worth", ""), *rows])
    yield (
        f"worth: in new tokens, repeated ones counted by Muennighoff et al. 2023; with max_copies and these shares "
        f"~{model.feasible:,} tokens can be had"
    )


def _passes(group: GroupTarget) -> str:
    from curation.scaling import HARMLESS

    if group.passes is None:
        return "nothing there" if group.asked else ""
    said = [f"more than max_copies, {group.most}"] if group.passes > group.most else []
    said += [f"more than the {HARMLESS} that are nearly as good as new"] if group.passes > HARMLESS else []
    return "; ".join(said)


def _found(dedup: DedupPlan) -> Iterator[str]:
    similarities = [point["similarity"] for point in dedup.curve]
    marked = [f"{one:g}*" if one == dedup.similarity else f"{one:g}" for one in similarities]
    likely = [f"{point['likely']:.1%}" for point in dedup.curve]
    yield from aligned([("near-duplicates of similarity", *marked), ("are found", *likely)])
    yield f"* the recipe's; a pair that shares none of {dedup.bands} bands of {dedup.rows} rows is not compared"
    if dedup.likely < 0.5:
        yield (
            f"warning: of near-duplicates that are just {dedup.similarity:g} similar {dedup.likely:.1%} are found, "
            "less than half: take more dedup.bands, or fewer dedup.rows"
        )


def _enough(group: GroupPlan) -> str:
    if group.asked is None or group.available * group.most >= group.asked:
        return ""
    return f"short by ~{group.asked - group.available * group.most:,}"


def _rule(text: str) -> tuple[str, str | None]:
    name, equals, predicate = (piece.strip() for piece in text.partition("="))
    if not equals or not name or not predicate:
        raise UsageError(
            f"--rule {text}: expected NAME=SQL", remedy='for example --rule low_value="education_score < 2"'
        )
    return name, None if predicate == "false" else predicate


def _told(
    answer: WhatIf, wanted: dict[str, str | None], recipe: Path, overrides: tuple[str, ...], work: str | None
) -> Iterator[str]:
    from curation.recipe import load

    if not answer.changes:
        yield "the recipe has just these rules: nothing would change"
        return
    for change in answer.changes:
        yield from _change(change)
        yield ""
    yield from _effects("source", answer.sources)
    if len(answer.groups) > 1 or answer.groups[0].asked:
        yield from _effects("blend group", answer.groups)
    if answer.moves:
        moves = [(move["before"], move["after"], move["documents"], move["tokens"]) for move in answer.moves]
        yield from aligned([("now", "then", "documents", "tokens"), *moves])
        yield ""
    taken_away = _taken_away(recipe, overrides, work, wanted)
    settings = [one for one in overrides if _key(one) not in {f"rules.{name}" for name in taken_away}]
    in_recipe = [name for name in taken_away if name in load(recipe, tuple(settings), work=work).rules.own]
    settings += [
        f"rules.{name}={'false' if predicate is None else _as_text(predicate)}"
        for name, predicate in wanted.items()
        if name not in taken_away
    ]
    words = [str(recipe), *(["--work", work] if work else [])]
    words += [word for setting in settings for word in ("--set", setting)]
    yield (
        "Rules and copies are exact: survivors were chosen again. A kept document's tokens count once: the blend is "
        "not made again. Nothing was written."
    )
    for name in in_recipe:
        yield f"first:   remove {name} from [rules] in {recipe}"
    yield f"run it:  curate run {shlex.join(words)}"


def _taken_away(recipe: Path, overrides: tuple[str, ...], work: str | None, wanted: dict[str, str | None]) -> list[str]:
    """The rules to go that are not a preset's: false cannot switch them off, they go from where they stand."""
    from curation.recipe import load
    from curation.whatif import with_rules

    own = with_rules(load(recipe, overrides, work=work), wanted).rules.own
    return [name for name, predicate in wanted.items() if predicate is None and name not in own]


def _as_text(predicate: str) -> str:
    """The predicate as --set takes it for text: true in quotes, since it would be a truth value."""
    return json.dumps(predicate) if predicate == "true" else predicate


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def _effects(title: str, effects: list[Effect]) -> Iterator[str]:
    head = (title, "kept now", "lost", "gained", "then", "tokens now", "lost", "gained", "then")
    rows = [
        (effect.name, effect.documents_before, effect.lost, effect.gained, effect.documents_after,
         effect.tokens_before, effect.tokens_lost, effect.tokens_gained, effect.tokens_after)
        for effect in effects
    ]  # fmt: skip
    if any(effect.asked for effect in effects):
        asked = ["-" if effect.asked is None else effect.asked for effect in effects]
        yield from aligned([(*head, "asked"), *((*row, one) for row, one in zip(rows, asked, strict=True))])
    else:
        yield from aligned([head, *rows])
    yield ""


def _change(change: Change) -> Iterator[str]:
    yield f"rule {change.rule}"
    yield f"  now             {change.before or 'there is none'}"
    yield f"  then            {change.after or 'there is none'}"
    yield f"  hits            {change.hits_before:,} -> {change.hits_after:,}"
    for label, counts, when in (
        ("newly hit", change.newly_hit, "now"),
        ("no longer hit", change.no_longer_hit, "then"),
    ):
        fates = ", ".join(f"{count:,} {fate}" for fate, count in counts.items())
        yield f"  {label:15} {sum(counts.values()):,}" + (f", {when} {fates}" if fates else "")
    spared = "not hit" if change.after else "no longer hit"
    for label, samples in (("hit", change.hit), (spared, change.spared)):
        if samples:
            yield f"  {label}, nearest to the border"
            yield from (f"    {line}" for line in map(_sample, samples))


def _sample(sample: Sample) -> str:
    values = ", ".join(
        f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {shown(value)}"
        for name, value in sample.values.items()
    )
    fate = sample.before if sample.before == sample.after else f"{sample.before} -> {sample.after}"
    name = plain(sample.title or sample.uri or "-")
    return f"{sample.id[:12]}  {values:28}  {fate:20}  {sample.source}: {name[:60]}"
