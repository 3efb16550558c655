"""The card of a release: its README.md, which the Hugging Face hub and `datasets` read too."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import yaml

from curation import rules as ruling
from curation.report import toml
from curation.report.changes import changes
from curation.report.shown import BUILT_IN, environment

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What each column of a shard holds, those first that every release has.
COLUMNS = {
    "id": "32 hex digits, the same for the same document in every release",
    "text": "the text, with the recipe's edits applied",
    "source": "the source it came from, as listed below",
    "group": "the group of the blend it stands for",
    "uri": "where it was found; null where the source does not say",
    "title": "its title; null where there is none",
    "license": "the licence it states, else that of its source; null where neither says",
    "created_at": "when it was written, in UTC; null where unknown",
    "tokens": "its length in tokens",
}
#: What the end or the beginning of a column's name says about it.
_ENDINGS = {"_count": "a count", "_ratio": "a ratio, 0 to 1", "_score": "a score"}
#: What the funnel says of a source: documents by fate, then what of them is released.
FUNNEL = ("documents", "errors", "dropped", "duplicates", "kept")
RELEASED = ("released_documents", "released_rows", "released_tokens", "pulled_tokens")
#: Pairs of rules, languages and changes that are listed at most.
_MOST = 10
#: A language with at least this share of the kept tokens is one of the release's.
_SPOKEN = 0.01
#: Licences by the names the hub knows them by (their SPDX names in lower case).
_LICENSES = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "odc-by", "odbl",
    "pddl", "gfdl", "gpl-3.0", "unlicense",
)  # fmt: skip
#: Kinds of source whose documents never state a licence of their own.
_STATES_NONE = ("warc", "text")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
          (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"),
          (10**12, "100B<n<1T"))  # fmt: skip


def card(manifest: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> str:
    """The card in Markdown, made of the manifest and that of the release before; what comes from data is escaped."""
    recipe = toml.recipe_of(manifest["recipe"])
    made = environment()
    made.filters |= {"text": text, "code": code}
    settings = {source.name: source for source in recipe.source}
    licenses = sorted({source.license for source in recipe.source if source.license})
    groups = [
        {**group, "asked_tokens": round(recipe.blend.budget * group["asked_share"])
         if recipe.blend.budget is not None and group["asked_share"] is not None else None}
        for group in manifest["groups"]
    ]  # fmt: skip
    return made.get_template("card.md.j2").render(
        front=yaml.safe_dump(front_matter(manifest), sort_keys=False, allow_unicode=True),
        manifest=manifest,
        folder=f"{manifest['name']}/{manifest['version']}",
        columns=_columns(recipe.release.columns),
        sources=[{**source, "is": settings[source["name"]]} for source in manifest["sources"]],
        licenses=licenses,
        hits=_hits(manifest, {rule.name: rule for rule in ruling.rules_of(recipe)}),
        total={key: sum(source[key] for source in manifest["sources"]) for key in (*FUNNEL, *RELEASED)},
        changes=None if before is None else changes(before, manifest),
        groups=groups,
        scorecard=manifest.get("scorecard", []),
        limits=manifest.get("limits", []),
        languages=manifest["languages"],
        recipe=recipe,
        most=_MOST,
        recipe_text=(written := toml.written(manifest["recipe"])),
        fence="`" * max(3, 1 + max((len(run) for run in re.findall("`+", written)), default=0)),
    )  # fmt: skip


def front_matter(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The card's head: what the hub shows, and where `datasets` finds the shards."""
    license_ = _license(manifest["recipe"]["source"])
    front: dict[str, Any] = {"pretty_name": f"{manifest['name']} {manifest['version']}", "license": license_}
    if license_ == "other":
        front["license_name"] = "by-document"
    if languages := _spoken(manifest["languages"]):
        front["language"] = languages
    front |= {"task_categories": ["text-generation"], "size_categories": [size_category(manifest["rows"])]}
    if manifest["shards"]:
        files = [{"split": "train", "path": "data/*.parquet"}]
        front["configs"] = [{"config_name": "default", "data_files": files}]
    return front


def size_category(rows: int) -> str:
    """The hub's name for a number of rows.

    >>> size_category(0), size_category(1_000), size_category(25_000_000), size_category(10**13)
    ('n<1K', '1K<n<10K', '10M<n<100M', 'n>1T')
    """
    return next((name for limit, name in _SIZES if rows < limit), "n>1T")


def text(value: str) -> str:
    r"""A text inside a line of Markdown or a cell of its tables, shown as it is.

    >>> text("a|b *c* <script>")
    'a\\|b \\*c\\* \\<script\\>'
    """
    return re.sub(r"([\\`*_\[\]<>|~&#!])", r"\\\1", " ".join(value.split()))


def code(value: str) -> str:
    """The same as code; as references to characters where backquotes would not hold it.

    >>> code("word_count < 50"), code("a || b")
    ('`word_count < 50`', '<code>a &#124;&#124; b</code>')
    """
    line = " ".join(value.split())
    if not re.search(r"[\\`|]", line):
        return f"`{line}`"
    return "<code>" + re.sub(r"[^\w .,]|_", lambda found: f"&#{ord(found[0])};", line) + "</code>"


def _spoken(languages: list[dict[str, Any]]) -> list[str]:
    """The languages of the release, as the hub wants them: codes of ISO 639, without the texts in none."""
    total = sum(row["kept_tokens"] for row in languages)
    return [
        row["language"] for row in languages
        if re.fullmatch("(?!und)[a-z]{2,3}", row["language"]) and row["kept_tokens"] >= _SPOKEN * total > 0
    ]  # fmt: skip


def _license(sources: list[dict[str, Any]]) -> str:
    """The one licence of all documents if it is known, as the hub calls it, else "other"."""
    licenses = {str(source["license"]).lower() for source in sources}
    known = licenses.pop() if len(licenses) == 1 else "other"
    one = all(source["kind"] in _STATES_NONE for source in sources)
    return known if one and known in _LICENSES else "other"


def _columns(asked: list[str]) -> list[tuple[str, str]]:
    columns = list(COLUMNS.items())
    for name in asked:
        if name not in COLUMNS:
            kind = next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), "")
            kind = "true or false" if name.startswith(("is_", "has_")) else kind
            columns.append((name, "as measured" + (f": {kind}" if kind else "") + "; `curate signals` says how"))
    return columns


def _hits(manifest: Mapping[str, Any], rules: Mapping[str, ruling.Rule]) -> list[dict[str, Any]]:
    """What each rule hit, the busiest first."""
    counts: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for source in manifest["sources"]:
        counts.update(source["rules"])
        alone.update(source["alone"])
    rows = []
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        rule = rules.get(name)
        predicate, origin = (rule.predicate, rule.origin) if rule else (None, "built in")
        what = BUILT_IN.get(name, "")
        rows.append({"name": name, "predicate": predicate, "what": what, "origin": origin, "count": count,
                     "alone": alone[name]})  # fmt: skip
    return rows
