"""Markdown for the generated parts of these pages, taken from the code itself; cog calls it, see `make docs`."""  # noqa: INP001

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from classifiers import education
from curation import recipe
from curation.cli import cli
from curation.dedup.signatures import Signatures, probability
from curation.rules import presets
from curation.signals import SIGNALS, contamination, lines, signal_name, url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

#: The tables of a recipe in the order of the page: heading, model, and what a key of it is called in messages.
TABLES: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("The top", recipe.Recipe, ""),
    ("[[source]]", recipe.Source, "source"),
    ("[extract]", recipe.Extract, "extract"),
    ("[signals.url]", url.Settings, "signals.url"),
    ("[signals.contamination]", contamination.Settings, "signals.contamination"),
    ("[signals.lines]", lines.Settings, "signals.lines"),
    ("[signals.education]", education.Settings, "signals.education"),
    ("[dedup]", recipe.Dedup, "dedup"),
    ("[rules]", recipe.Rules, "rules"),
    ("[edit]", recipe.Edit, "edit"),
    ("[blend]", recipe.Blend, "blend"),
    ("[[blend.group]]", recipe.Group, "blend.group"),
    ("[[blend.limit]]", recipe.Limit, "blend.limit"),
    ("[release]", recipe.Release, "release"),
    ("[endpoint.NAME]", recipe.Endpoint, "endpoint"),
    ("[[endpoint.NAME.server]]", recipe.Server, "endpoint.server"),
)

#: What each key does. What it expects and its default come from the code.
ABOUT = {
    "name": "the release is called NAME/VERSION",
    "work": "the folder, or place in S3, of everything that is measured on the way; left out, `work/NAME`. `--work` "
    "overrides it",
    "s3": "what goes with every object that is written to WORK in S3, by boto3's names: "
    "[s3.md](s3.md#encryption-and-access)",
    "single_writer": "that nothing else writes to WORK and the releases, for S3 servers whose conditional writes "
    "do not hold: [s3.md](s3.md). Decides no byte",
    "seed": "of the sample that the blend takes and of the shuffle",
    "source.name": "stands in the column `source`, for rules and groups to ask",
    "source.kind": "how the files are read: [sources.md](sources.md)",
    "source.paths": "files, folders, patterns (`*`, `**`) and $VARIABLES, relative to the recipe",
    "source.root": "the folder that names of inputs are relative to; left out, what all `paths` have in common before "
    "their first wildcard. Set it where `paths` will grow: [sources.md](sources.md#what-an-input-is-called)",
    "source.license": "goes into the column `license`",
    "source.fields": "for jsonl and parquet: which key or column of the input a document column is taken from, or SQL "
    "over them; `text`, `uri`, `title`, `license` and `created_at` can be mapped: "
    "[sources.md](sources.md#fields)",
    "source.where": "documents for which it is false are counted and not kept; one without an answer stops the run: "
    "[sources.md](sources.md#where)",
    "source.endpoint": "for textbooks: who writes them: [textbooks.md](textbooks.md)",
    "source.run_code": "for textbooks: whether the code of exercises is run against its own tests, in a sandbox: "
    "[textbooks.md](textbooks.md#code-that-is-run)",
    "source.max_loss": "how much of this source deduplication may remove; left out, `dedup.max_loss`",
    "extract.engine": "how the main text is found in HTML; what each is worth: [sources.md](sources.md#html-to-text)",
    "extract.format": "how it is written; Markdown by the engine `blocks` only",
    "extract.model": "what the engine `blocks` keeps blocks by; your own: [extractor.md](extractor.md)",
    "signals.url.blocked_domains": "lists of domains; what a line may be: [blocklists.md](blocklists.md)",
    "signals.url.blocked_words": "lists of words and phrases: [blocklists.md](blocklists.md#lists-of-words)",
    "signals.contamination.benchmarks": "files of benchmark items to look for; without any the signal is off: "
    "[decontamination.md](decontamination.md)",
    "signals.contamination.question_fields": "the first of these that an item has is its question",
    "signals.contamination.answer_fields": "all of these are an item's answers",
    "signals.lines.documents": "a line is shared that stands in more documents than this: "
    "[shared-lines.md](shared-lines.md)",
    "signals.lines.hosts": "and on at least so many hosts; documents without one count as their source's",
    "signals.education.model": "the model behind `education_score`; your own: "
    "[classifier.md](classifier.md). A table of another name with a `model` is one more classifier",
    "dedup.enabled": "false: no signatures are measured and no copies looked for",
    "dedup.similarity": "from this verified similarity on, one of two documents goes",
    "dedup.verify": "what candidates are compared by: their signatures, or exactly, by their text",
    "dedup.bands": "more bands find more pairs, and cost more",
    "dedup.rows": "more rows find fewer pairs of low similarity; bands x rows (up to 1024) is a signature's length",
    "dedup.ngram": "how many words in a row make a shingle, of which similarity is the shared part",
    "dedup.prefer": "which of several copies stays: the first in this order; the id breaks ties",
    "dedup.stable": "true: what the latest release holds stays, though a better copy came; rules go first: "
    "[duplicates.md](duplicates.md#what-is-released-stays)",
    "dedup.against": "other releases, and corpora with a column `text`: documents that are copies of theirs go; paths "
    "as in sources: [duplicates.md](duplicates.md#compared-with-what-stands-elsewhere)",
    "dedup.max_loss": "a source of which more than this share are copies of kept documents stops the run",
    "rules.presets": "named sets of rules: [rules.md](rules.md#presets)",
    "rules.alarm_share": "a rule that hits, or a source with errors in, more than this share is warned about",
    "rules.NAME": "a rule of your own; true = drop. `false` switches off the preset's rule of that name",
    "edit.remove": "columns of spans that are cut out of what is published; see [signals.md](signals.md#c4)",
    "edit.replace": "columns of spans that are replaced in what is published: `pii` by stand-ins, `mojibake` by its "
    "repair; see [signals.md](signals.md#replacing-it). Removing goes first: of a span of which a part is removed, the "
    "stand-in takes the rest. Where spans of two columns overlap, the column listed first is replaced and the other's "
    "span stays. What is "
    "replaced counts towards `tokens` as long as it was",
    "edit.where": "only in documents for which this is true",
    "blend.tokens": "the budget; left out, every kept document stands in the release once",
    "blend.tokenizer": "bytes of UTF-8 that count as one token, an estimate and named as one; or a tokenizer.json, "
    "whose counts are exact: [blend.md](blend.md#tokens)",
    "blend.short": "what to do where not all that is asked can be had: take the nearest blend and warn, or stop: "
    "[blend.md](blend.md#what-cannot-be-had)",
    "blend.limit": "bounds across groups: [blend.md](blend.md#minimum-and-maximum)",
    "blend.limit.name": "what it is called in figures and messages",
    "blend.limit.where": "the documents it counts, in whatever group",
    "blend.limit.min_share": "of the whole blend at least",
    "blend.limit.max_share": "of the whole blend at most",
    "blend.limit.min_tokens": "at least, repetitions counted",
    "blend.limit.max_tokens": "at most, repetitions counted",
    "blend.rest": "what to do about kept documents in no group: stop, or leave them out",
    "blend.group": "the groups, in order; left out, one group `all` takes everything",
    "blend.group.name": "stands in the column `group` of the release",
    "blend.group.where": "which kept documents are in it; the first group that matches takes a document",
    "blend.group.share": "of the budget, or of what the group around it gets; shares add up to 1. Where there is a "
    "budget each group needs a share, tokens, or a minimum or maximum",
    "blend.group.tokens": "in place of a share. Where all groups say it, their sum is the budget",
    "blend.group.min_share": "in place of a share: of what is shared out it gets this at least",
    "blend.group.max_share": "in place of a share: of what is shared out it gets this at most",
    "blend.group.min_tokens": "in place of a share: at least",
    "blend.group.max_tokens": "in place of a share: at most",
    "blend.group.order": "the best first; left out, a fair sample. The order of the sample breaks ties: "
    "[blend.md](blend.md#what-is-taken)",
    "blend.group.group": "groups inside it: [blend.md](blend.md#groups-in-groups)",
    "blend.group.max_copies": "how often a document may stand in the release where the group is short",
    "blend.group.max_per_domain": "documents of one registered domain at most: "
    "[blend.md](blend.md#not-too-much-of-one-site)",
    "release.to": "the folder for releases; NAME/VERSION is made in it",
    "release.version": "left out, today (UTC), with .2, .3 … behind it where that is taken",
    "release.shard_bytes": "of text in a shard, about; units KB, MB, GB, KiB, MiB, GiB",
    "release.s3": "what goes with every object of the releases in S3: encryption, access, class of storage. Decides no "
    "byte: [s3.md](s3.md#encryption-and-access)",
    "release.columns": "measured columns that stand in the shards beside the text, each named once",
    "release.tokenised": "whether token ids are written beside the Parquet, by the tokenizer.json that "
    "`blend.tokenizer` names: [releases.md](releases.md#tokenised)",
    "release.end_of_document": "what follows each document there; left out, the first that the tokenizer knows of "
    "`<|endoftext|>`, `<|end_of_text|>`, `</s>`, `<eos>`, `<|eos|>`, `[EOS]` and `<|im_end|>`",
    "endpoint.url": "an OpenAI-compatible server; `/chat/completions` is put behind it: [classifier.md](classifier.md)",
    "endpoint.server": "several servers in place of `url`: [textbooks.md](textbooks.md#several-servers)",
    "endpoint.server.url": "its address",
    "endpoint.server.weight": "its share of the requests against the others'",
    "endpoint.server.model": "what this server calls the model; left out, `model` of the endpoint",
    "endpoint.server.key": "where the key of this server is; left out, `key` of the endpoint, so name one for each "
    "server that is another's",
    "endpoint.model": "which of its models is asked",
    "endpoint.key": "where the key is, which itself never stands in a file; left out, CURATE_ENDPOINT_NAME_KEY, and "
    "none where that is not set",
    "endpoint.price": "in any currency, the one of `budget`",
    "endpoint.budget": "how much may be spent, by all that the ledger holds together; never exceeded: each request "
    "counts with the most it can cost until its answer is there. Needs `price`",
    "endpoint.budgets": "how much of it may be spent on each kind: those of [textbooks.md](textbooks.md#the-kinds), "
    "and `label`. A kind that is not named has the whole `budget`",
    "endpoint.budget_requests": "how many requests may go out, tries counted one by one",
    "endpoint.budget_tokens": "how many tokens of prompts and answers may be spent",
    "endpoint.ledger": "what was asked, answered and paid; left out, `ledger/NAME` beside the recipe. Keep it: nothing "
    "in it is paid again",
    "endpoint.concurrency": "how many requests may be under way at most; how many are is found out, from 4 on",
    "endpoint.attempts": "how often a request is tried",
    "endpoint.connect_seconds": "how long to wait for a connection",
    "endpoint.read_seconds": "how long nothing may come; a request that hangs holds one of the `concurrency` for so "
    "long each time it is tried",
    "endpoint.total_seconds": "how long an answer may take, also one of which something comes again and again",
    "endpoint.stream": "whether answers come piece by piece, so that `read_seconds` can be short; false for servers "
    "that cannot",
    "endpoint.tokens_parameter": "how the server calls the longest answer, in tokens",
    "endpoint.parameters": "what else each request says: `seed`, `top_p`, `reasoning_effort` …; `{}` for models that "
    "take no temperature",
}

#: Tables that have a heading of their own.
_TABLES = {"source", "extract", "signals", "dedup", "rules", "edit", "blend", "release", "endpoint"}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def recipe_keys() -> Iterator[tuple[str, str, str, str]]:
    """Every key of a recipe: its path, what it expects, its default as TOML, and what it does."""
    bounds = recipe.Limit.model_fields.keys() - {"name", "where"}
    for _, model, prefix in TABLES:
        for key, field in sorted(model.model_fields.items(), key=lambda item: item[0] in bounds):
            if field.exclude:
                continue
            path = f"{prefix}.{key}" if prefix else key
            if path in _TABLES:
                continue
            path = "rules.NAME" if path == "rules.own" else path
            yield path, field.description or "", _default(field), ABOUT[path]


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ([], {}, ()):
        return "-"
    return f"`{json.dumps(value)}`"


def recipe_reference() -> str:
    """A table of keys for each table of the recipe."""
    keys = list(recipe_keys())
    pages = []
    for heading, _, prefix in TABLES:
        mine = [row for row in keys if row[0].rpartition(".")[0] == prefix]
        lines = [f"## {heading}", "", "| key | expected | default | what it does |", "|---|---|---|---|"]
        for path, expected, default, about in mine:
            key = path.rpartition(".")[2]
            lines.append(f"| `{key}` | {_cell(expected)} | {_cell(default)} | {_cell(about)} |")
        pages.append("\n".join(lines))
    return "\n\n".join(pages)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups before what is in them."""

    def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        if isinstance(command, click.Group):
            for sub in command.commands.values():
                yield from walk(f"{name} {sub.name}", sub)

    yield from walk("curate", cli)


def commands_reference() -> str:
    """The help of every command."""
    pages = []
    for name, command in commands():
        context = click.Context(
            command, info_name=name, terminal_width=100, max_content_width=100, help_option_names=["-h", "--help"]
        )
        pages.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(pages)


def presets_reference() -> str:
    """Every preset with where it comes from and its rules."""
    pages = []
    for label, preset in presets().items():
        lines = [f"### {label}", "", f"{preset.source}.", "", "| rule | drops where |", "|---|---|"]
        lines += [f"| `{name}` | `{_cell(predicate)}` |" for name, predicate in preset.rules.items()]
        pages.append("\n".join(lines))
    return "\n\n".join(pages)


def signals_reference() -> str:
    """The signals in the order of measuring, with how many columns each has."""
    lines = ["| signal | columns | what |", "|---|--:|---|"]
    for module in SIGNALS:
        loaded = module.load(module.Settings()) if hasattr(module, "Settings") else module
        about = (module.__doc__ or "").strip().splitlines()[0]
        lines.append(f"| `{signal_name(module)}` | {len(loaded.COLUMNS)} | {_cell(about)} |")
    return "\n".join(lines)


def signature_columns() -> str:
    """The columns of the signal that comparing needs, with the default settings."""
    settings = recipe.Dedup()
    columns = Signatures(settings.ngram, settings.bands, settings.rows).COLUMNS
    return f"`{next(iter(columns))}` … `{list(columns)[-1]}`"


def probability_table() -> str:
    """How likely a pair of a given similarity is found, for the default settings and some others."""
    settings = ((18, 6), (14, 8), (32, 4), (9, 13))
    lines = ["| similarity | " + " | ".join(f"{bands} x {rows}" for bands, rows in settings) + " |"]
    lines.append("|--:|" + "--:|" * len(settings))
    for percent in (30, 40, 50, 60, 70, 75, 80, 85, 90, 95):
        chances = (probability(percent / 100, bands, rows) for bands, rows in settings)
        lines.append(f"| {percent / 100:.2f} | " + " | ".join(f"{chance:.1%}" for chance in chances) + " |")
    return "\n".join(lines)
