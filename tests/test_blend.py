"""A blend keeps to its budget, is a fair sample that grows with it, and says what it could not do and why."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation import pipeline
from curation.blend import blend as stage
from curation.dataset import Part
from curation.engine import LocalEngine
from curation.errors import CurationError, RecipeError
from curation.groups import groups_of
from curation.publish import edited
from curation.recipe import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from curation.run import Run

#: 40 documents of 3 to 12 tokens (bytes / 4), 20 in each source.
SOURCES = {
    name: [{"text": f"{name} {n:02d} " + "x" * (n % 10) * 4, "uri": f"{name}{n:02d}"} for n in range(20)]
    for name in ("web", "notes")
}  # fmt: skip
NEAR = "[dedup]\nenabled = false\n"


def group(name: str, where: str, share: float | None = None, copies: int | None = None) -> str:
    """A table [[blend.group]]."""
    text = f'[[blend.group]]\nname = "{name}"\nwhere = "{where}"\n'
    text += "" if share is None else f"share = {share}\n"
    return text + ("" if copies is None else f"max_copies = {copies}\n")


def blend(tokens: int | None, *groups: str, rest: str = "error") -> str:
    """The recipe's tables for a blend without deduplication."""
    budget = "" if tokens is None else f"tokens = {tokens}\n"
    return f'{NEAR}[blend]\n{budget}rest = "{rest}"\n' + "".join(groups)


def rows(run: Run) -> dict[str, dict[str, Any]]:
    """What the blend says of each document, by uri."""
    found = {}
    for part in run.parts:
        names = run.work.documents.read(part, ["id", "uri"]).to_pylist()
        for name, row in zip(names, run.work.blend.read(part).to_pylist(), strict=True):
            assert name["id"] == row["id"]
            found[name["uri"]] = row
    return found


def copies(run: Run) -> dict[str, int]:
    """How often each document stands in the release, by uri."""
    return {uri: row["copies"] for uri, row in rows(run).items()}


def figures(run: Run) -> dict[str, dict[str, Any]]:
    """The groups of the blend's figures by name; they must agree with the rows."""
    groups = {entry["name"]: entry for entry in run.figures["blend"]["groups"]}
    for name, entry in groups.items():
        mine = [row for row in rows(run).values() if row["group"] == name]
        assert entry["available_documents"] == len(mine)
        assert entry["available_tokens"] == sum(row["tokens"] for row in mine)
        assert entry["tokens"] == sum(row["tokens"] * row["copies"] for row in mine)
        assert entry["documents"] == sum(row["copies"] > 0 for row in mine)
    total = sum(entry["tokens"] for entry in groups.values())
    assert run.figures["blend"]["tokens"] == total
    for entry in groups.values():
        assert entry["achieved_share"] == pytest.approx(entry["tokens"] / (total or 1), abs=1e-6)
    return groups


BOTH = (group("web", "source = 'web'", 0.75, 2), group("notes", "source = 'notes'", 0.25, 2))


def test_without_a_budget_everything_stands_once(tiny: Callable[..., Run]) -> None:
    """With no groups, and with groups that have no share."""
    run = tiny(SOURCES, NEAR, until="blend")
    assert set(copies(run).values()) == {1}
    (entry,) = figures(run).values()
    assert (entry["name"], entry["documents"], entry["asked_tokens"], entry["why"]) == ("all", 40, None, None)
    run = tiny(SOURCES, blend(None, group("web", "source = 'web'", None, 3), group("rest", "true")), until="blend")
    assert set(copies(run).values()) == {1}
    assert {name: entry["documents"] for name, entry in figures(run).items()} == {"web": 20, "rest": 20}


def test_tokens_are_counted_by_the_estimate_that_is_named(tiny: Callable[..., Run]) -> None:
    """bytes/4 and bytes/3 of the text, rounded up."""
    for divisor in (4, 3):
        run = tiny(SOURCES, NEAR, f"blend.tokenizer=bytes/{divisor}", until="blend")
        for uri, row in rows(run).items():
            text = next(one["text"] for source in SOURCES.values() for one in source if one["uri"] == uri)
            assert row["bytes"] == len(text)
            assert row["tokens"] == -(-len(text) // divisor)


def test_a_budget_is_shared_out_and_kept_to(tiny: Callable[..., Run]) -> None:
    """No group gets more than its share, nor less by more than its next document."""
    run = tiny(SOURCES, blend(100, *BOTH), until="blend")
    groups = figures(run)
    for name, asked in (("web", 75), ("notes", 25)):
        assert groups[name]["asked_tokens"] == asked
        assert asked - 12 < groups[name]["tokens"] <= asked
        assert (groups[name]["why"] is None) == (groups[name]["tokens"] >= 0.99 * asked)
    assert set(copies(run).values()) == {0, 1}
    assert run.figures["blend"]["asked_tokens"] == 100


def test_documents_repeat_up_to_their_bound_and_the_shortfall_is_said(tiny: Callable[..., Run]) -> None:
    """First every document once, then again from the beginning; above the bound it falls short, with a reason."""
    run = tiny(SOURCES, blend(250, *BOTH), until="blend")
    web = {uri: count for uri, count in copies(run).items() if uri.startswith("web")}
    assert set(web.values()) == {1, 2}
    assert 187 - 12 < figures(run)["web"]["tokens"] <= 188
    run = tiny(SOURCES, blend(4_000, *BOTH), until="blend")
    assert set(copies(run).values()) == {2}
    entry = figures(run)["web"]
    available = entry["available_tokens"]
    assert entry["tokens"] == 2 * available
    assert (
        entry["why"]
        == f"asked for 3,000 tokens, got {2 * available:,}: its {available} tokens may stand at most 2 times"
    )
    assert f"blend group web: {entry['why']}" in run.warnings


def test_a_larger_budget_holds_what_a_smaller_one_did(tiny: Callable[..., Run]) -> None:
    """As tokens grow no document stands less often than before."""
    before = dict.fromkeys((row["uri"] for source in SOURCES.values() for row in source), 0)
    for tokens in (1, 30, 60, 100, 150, 250, 300, 400, 700, 2_000):
        now = copies(tiny(SOURCES, blend(tokens, *BOTH), until="blend"))
        assert all(now[uri] >= count for uri, count in before.items())
        for source in SOURCES:
            mine = [count for uri, count in now.items() if uri.startswith(source)]
            assert max(mine) - min(mine) <= 1
        before = now
    assert sum(before.values()) == 80


def test_another_seed_is_another_sample(tiny: Callable[..., Run]) -> None:
    """The same seed the same, in whatever parts the documents lie; another one another."""
    table = blend(100, *BOTH)
    first = copies(tiny(SOURCES, table, until="blend"))
    assert copies(tiny(SOURCES, table, "seed=1", until="blend")) != first
    assert copies(tiny(SOURCES, table, "seed=0", until="blend")) == first


def test_a_blend_does_not_depend_on_parts(tiny: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same documents in other parts, read in another order, give the same blend."""
    run = tiny(SOURCES, blend(100, *BOTH), until="blend")
    first = copies(run)
    taken = run.work.signals
    for part, footer in list(run.parts.items()):  # each part becomes two
        half = footer.rows // 2
        for dataset in (run.work.documents, run.work.verdicts, *(run.work.signal(name) for name in taken)):
            table = dataset.read(part)
            dataset.write(Part(part.source, f"{part.name}-b"), table.slice(half), "b")
            dataset.write(part, table.slice(0, half), "a")
    cut_up = [half for part in run.parts for half in (Part(part.source, f"{part.name}-b"), part)]
    monkeypatch.setattr(run, "parts", {part: run.work.documents.footer(part) for part in cut_up})
    monkeypatch.setattr(run, "signals_from", {part: {} for part in cut_up})
    monkeypatch.setattr(run, "verdicts_from", {part: str(part) for part in cut_up})
    stage(run)
    assert len(run.parts) == 4
    assert copies(run) == first


def test_a_document_in_no_group_is_an_error_unless_said(tiny: Callable[..., Run]) -> None:
    """With how many, an example and the remedy; with rest = drop they are left out and counted."""
    only = group("web", "source = 'web'", 1.0)
    with pytest.raises(CurationError, match=r"20 kept documents are in no blend group.* [0-9a-f]{32}") as caught:
        tiny(SOURCES, blend(100, only), until="blend")
    assert caught.value.remedy
    assert 'blend.rest = "drop"' in caught.value.remedy
    run = tiny(SOURCES, blend(100, only, rest="drop"), until="blend")
    assert run.figures["blend"]["left_over"] == 20
    assert {row["copies"] for uri, row in rows(run).items() if uri.startswith("notes")} == {0}


def test_where_that_is_null_is_no_match(tiny: Callable[..., Run]) -> None:
    """A document of which a group cannot say falls to the next, or to none."""
    table = blend(None, group("titled", "title = 'x'"), group("rest", "true"))
    run = tiny(SOURCES, table, until="blend")
    assert {row["group"] for row in rows(run).values()} == {"rest"}
    with pytest.raises(CurationError, match="40 kept documents are in no blend group"):
        tiny(SOURCES, blend(None, group("titled", "title = 'x'")), until="blend")


def test_the_first_group_that_matches_takes_a_document(tiny: Callable[..., Run]) -> None:
    """Each document is in one group."""
    table = blend(None, group("short", "word_count <= 2"), group("web", "source = 'web'"), group("rest", "true"))
    run = tiny(SOURCES, table, until="blend")
    found = {uri: row["group"] for uri, row in rows(run).items()}
    assert found["web00"] == found["notes10"] == "short"
    assert (found["web01"], found["notes01"]) == ("web", "rest")
    assert sum(entry["documents"] for entry in figures(run).values()) == 40


def test_a_group_without_documents_says_so(tiny: Callable[..., Run]) -> None:
    """Nothing is divided by nothing."""
    table = blend(100, group("none", "source = 'nowhere'", 0.5), group("all", "true", 0.5))
    run = tiny(SOURCES, table, until="blend")
    entry = figures(run)["none"]
    assert (entry["tokens"], entry["documents"], entry["achieved_share"]) == (0, 0, 0.0)
    assert entry["why"] == "asked for 50 tokens; no kept document is in it"


def test_a_document_larger_than_the_budget(tiny: Callable[..., Run]) -> None:
    """Nothing fits: none is taken, and that is said."""
    run = tiny({"s": [{"text": "x" * 4_000, "uri": "large"}]}, blend(100, group("all", "true", 1.0, 4)), until="blend")
    assert copies(run) == {"large": 0}
    assert figures(run)["all"]["why"] == (
        "asked for 100 tokens, got 0: the next document in its order is larger than what is missing"
    )


@pytest.mark.parametrize("seed", range(2))
def test_a_large_document_in_the_middle(tiny: Callable[..., Run], seed: int) -> None:
    """A document that does not fit ends the sample; a group that falls far short for it says why."""
    documents = [{"text": "x" * (40_000 if number == 0 else 40), "uri": f"{number}"} for number in range(10)]
    run = tiny({"s": documents}, blend(90, group("all", "true", 1.0)), f"seed={seed}", until="blend")
    entry = figures(run)["all"]
    assert entry["tokens"] <= 90
    assert entry["tokens"] > 80 or entry["why"]


def test_dropped_documents_are_in_no_group(tiny: Callable[..., Run]) -> None:
    """Only what is kept is blended."""
    run = tiny(SOURCES, blend(None) + '[rules]\nshort = "word_count <= 2"\n', until="blend")
    found = rows(run)
    assert found["web00"] == {"id": found["web00"]["id"], "group": None, "copies": 0, "tokens": 0, "bytes": 0}
    assert found["web01"]["copies"] == 1


def test_shares_without_tokens_are_refused(tiny: Callable[..., Run]) -> None:
    """Before anything runs."""
    with pytest.raises(RecipeError, match="shares are shares of it"):
        tiny(SOURCES, blend(None, group("all", "true", 1.0)))


def test_no_group_is_one_group(tiny: Callable[..., Run]) -> None:
    """A budget without groups is for everything."""
    run = tiny(SOURCES, blend(60), until="blend")
    assert [made.name for made in groups_of(run.recipe)] == ["all"]
    assert 48 < figures(run)["all"]["tokens"] <= 60


# domains

#: 30 pages of three hosts of one domain, 4 of another, 6 of none.
PAGES = [
    {"text": f"page {n:02d} " + "x" * (n % 7) * 4, "uri": f"https://{'abc'[n % 3]}.large.example/{n}"}
    for n in range(30)
]
PAGES += [{"text": f"small {n}", "uri": f"https://small.example/{n}"} for n in range(4)]
PAGES += [{"text": f"note {n}", "uri": f"notes/{n}"} for n in range(6)]


def bounded(share: float | None, most: int, more: str = "") -> str:
    """One group with at most so many documents of a domain."""
    return group("web", "true", share, 2) + f"max_per_domain = {most}\n{more}"


def first_of(run: Run, most: int) -> set[str]:
    """The pages that a bound leaves, worked out here: of each domain the first by the hash of seed and id."""
    ids = {uri: row["id"] for uri, row in rows(run).items()}
    keys = {uri: f"{run.recipe.seed}:{document}".encode() for uri, document in ids.items()}
    ordered = sorted(ids, key=lambda uri: (hashlib.md5(keys[uri]).hexdigest(), ids[uri]))  # noqa: S324  # an order
    large = [uri for uri in ordered if ".large.example" in uri]
    small = [uri for uri in ordered if "//small.example" in uri]
    return {*large[:most], *small[:most], *(uri for uri in ordered if "//" not in uri)}


@pytest.mark.parametrize("most", [1, 4, 5, 29, 30, 1000])
def test_a_domain_gives_no_more_than_its_bound(tiny: Callable[..., Run], most: int) -> None:
    """The first in the order of the sample stay; what has no domain is exempt; the rest is counted and said."""
    run = tiny({"s": PAGES}, blend(None, bounded(None, most)), until="blend")
    assert {uri for uri, count in copies(run).items() if count} == first_of(run, most)
    entry = run.figures["blend"]["groups"][0]
    over = max(0, 30 - most) + max(0, 4 - most)
    assert (entry["documents"], entry["available_documents"], entry["over_domain"]) == (40 - over, 40 - over, over)
    assert entry["why"] == (f"{over} documents are left out, over {most:,} of one domain" if over else None)
    assert {row["group"] for row in rows(run).values()} == {"web"}


def test_a_bound_and_a_budget(tiny: Callable[..., Run]) -> None:
    """Only what the bound leaves is repeated; the shortfall says both reasons; a larger budget holds the smaller."""
    before: dict[str, int] = {}
    for tokens in (10, 30, 60, 90, 5_000):
        run = tiny({"s": PAGES}, blend(tokens, bounded(1.0, 5)), until="blend")
        now = copies(run)
        assert all(now[uri] >= count for uri, count in before.items())
        assert {uri for uri, count in now.items() if count} <= first_of(run, 5)
        before = now
    entry = run.figures["blend"]["groups"][0]
    assert entry["tokens"] == 2 * entry["available_tokens"]
    assert {before[uri] for uri in first_of(run, 5)} == {2}
    assert entry["why"].endswith("may stand at most 2 times; 25 documents are left out, over 5 of one domain")


def test_a_bound_is_each_groups_own(tiny: Callable[..., Run]) -> None:
    """A document counts where it is; another group has all of its own."""
    table = group("few", "uri like 'https://a%'") + "max_per_domain = 3\n" + group("rest", "true")
    run = tiny({"s": PAGES}, blend(None, table), until="blend")
    counts = {entry["name"]: (entry["documents"], entry["over_domain"]) for entry in run.figures["blend"]["groups"]}
    assert counts == {"few": (3, 7), "rest": (30, 0)}


def test_another_bound_is_another_blend(tiny: Callable[..., Run]) -> None:
    """Parts of an earlier bound are not taken for those of this one, nor those of none."""
    for most in (3, 7, 3):
        assert sum(
            copies(tiny({"s": PAGES}, blend(None, bounded(None, most)), until="blend")).values()
        ) == 6 + most + min(4, most)
    assert sum(copies(tiny({"s": PAGES}, blend(None, group("web", "true")), until="blend")).values()) == 40


def test_a_bound_needs_the_signal_url(tiny: Callable[..., Run]) -> None:
    """Said when the recipe is read."""
    with pytest.raises(RecipeError, match=r"blend\.group\[0\]\.max_per_domain: it counts by `registered_domain`"):
        tiny({"s": PAGES}, blend(None, bounded(None, 3)) + "[signals.url]\nenabled = false\n")


# cutting


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6))
def test_cut_leaves_what_is_in_no_span(text: str, places: list[tuple[int, int]]) -> None:
    """Characters outside the union of the spans, in order, whatever the order and overlap of spans."""
    starts = [len(text[:place].encode()) for place in range(len(text) + 1)]
    inside = [sorted((min(a, len(text)), min(b, len(text)))) for a, b in places]
    spans = [(starts[a], starts[b]) for a, b in inside]
    expected = "".join(c for place, c in enumerate(text) if not any(a <= place < b for a, b in inside))
    assert edited(text.encode(), spans, []).decode() == expected


# wishes


def limit(name: str, where: str, **bounds: float) -> str:
    """A table [[blend.limit]]."""
    return f'[[blend.limit]]\nname = "{name}"\nwhere = "{where}"\n' + "".join(
        f"{key} = {value}\n" for key, value in bounds.items()
    )


def order_of(run: Run, uris: list[str]) -> list[str]:
    """These documents in the order of the sample, worked out here."""
    ids = {uri: row["id"] for uri, row in rows(run).items()}
    keys = {uri: hashlib.md5(f"{run.recipe.seed}:{ids[uri]}".encode()).hexdigest() for uri in uris}  # noqa: S324
    return sorted(uris, key=lambda uri: (keys[uri], ids[uri]))


def test_the_best_first(tiny: Callable[..., Run]) -> None:
    """The longest in bytes stand in the release, ties by the order of the sample; a larger budget holds a smaller."""
    before: dict[str, int] = {}
    for tokens in (20, 50, 100, 300):
        table = blend(tokens, group("all", "true", 1.0, 2) + 'order = "byte_count desc, source"\n')
        run = tiny(SOURCES, table, until="blend")
        now = copies(run)
        assert all(now[uri] >= count for uri, count in before.items())
        found = rows(run)
        ordered = sorted(
            order_of(run, list(found)), key=lambda uri: (-found[uri]["bytes"], uri.startswith("web"))
        )  # notes come before web
        taken, total = [], 0
        if tokens < 280:
            for uri in ordered:
                if total + found[uri]["tokens"] > tokens:
                    break
                taken.append(uri)
                total += found[uri]["tokens"]
            assert {uri for uri, count in now.items() if count} == set(taken)
        before = now


def test_a_limit_across_groups(tiny: Callable[..., Run]) -> None:
    """At most so much of what it counts, whatever the group; the figures say what it has; groups get their shares."""
    long = "byte_count > 32"
    free = copies(tiny(SOURCES, blend(120, *BOTH), until="blend"))
    table = blend(120, *BOTH) + limit("long", long, max_share=0.25)
    run = tiny(SOURCES, table, until="blend")
    found = rows(run)
    total = sum(row["tokens"] * row["copies"] for row in found.values())
    counted = sum(row["tokens"] * row["copies"] for row in found.values() if row["bytes"] > 32)
    assert sum(found[uri]["tokens"] * count for uri, count in free.items() if found[uri]["bytes"] > 32) > 0.25 * total
    assert 0 < counted <= 0.25 * 120
    (entry,) = run.figures["blend"]["limits"]
    assert (entry["name"], entry["tokens"], entry["asked"]) == ("long", counted, "at most 25 %")
    assert entry["achieved_share"] == pytest.approx(counted / total, abs=1e-6)
    assert entry["documents"] == sum(row["copies"] > 0 for row in found.values() if row["bytes"] > 32)
    for name, asked in (("web", 90), ("notes", 30)):
        assert figures(run)[name]["tokens"] == pytest.approx(asked, abs=2 * 12)


def test_groups_in_groups(tiny: Callable[..., Run]) -> None:
    """Shares inside are of what the group around them gets; what no sub-group takes is in no group."""
    inner = '[[blend.group]]\nname = "web"\nwhere = "source = \'web\'"\nshare = 0.8\n'
    for name, where, share in (("short", "byte_count < 20", 0.25), ("long", "byte_count >= 24", 0.75)):
        inner += f'[[blend.group.group]]\nname = "{name}"\nwhere = "{where}"\nshare = {share}\n'
    run = tiny(SOURCES, blend(100, inner, group("rest", "true", 0.2), rest="drop"), until="blend")
    groups = figures(run)
    assert [groups[name]["asked_tokens"] for name in ("web/short", "web/long", "rest")] == [20, 60, 20]
    assert [groups[name]["asked_share"] for name in ("web/short", "web/long", "rest")] == pytest.approx([0.2, 0.6, 0.2])
    found = rows(run)
    assert {row["group"] for uri, row in found.items() if uri.startswith("web")} == {None, "web/short", "web/long"}
    assert {uri for uri, row in found.items() if row["group"] is None} == {
        uri for uri, row in found.items() if uri.startswith("web") and 20 <= row["bytes"] < 24
    }
    (around,) = run.figures["blend"]["around"]
    assert around["tokens"] == groups["web/short"]["tokens"] + groups["web/long"]["tokens"]


def test_a_group_between_bounds(tiny: Callable[..., Run]) -> None:
    """It gets what is there of it, within its minimum and maximum."""
    web = group("web", "source = 'web' and byte_count > 30") + "min_share = 0.1\nmax_share = 0.2\n"
    rest = group("rest", "true") + "max_share = 1.0\n"
    run = tiny(SOURCES, blend(100, web, rest), until="blend")
    entries = figures(run)
    assert entries["web"]["tokens"] == pytest.approx(20, abs=12)
    assert entries["web"]["tokens"] <= 20
    assert entries["rest"]["tokens"] == pytest.approx(80, abs=12)
    assert (entries["web"]["asked_share"], entries["web"]["asked_tokens"]) == (None, None)


def test_tokens_of_each_group_are_the_budget(tiny: Callable[..., Run]) -> None:
    """Without `tokens` above them."""
    table = blend(
        None, *(group(name, f"source = '{name}'") + f"tokens = {n}\n" for name, n in (("web", 40), ("notes", 60)))
    )
    run = tiny(SOURCES, table, until="blend")
    assert run.figures["blend"]["asked_tokens"] == 100
    assert [figures(run)[name]["asked_tokens"] for name in ("web", "notes")] == [40, 60]


def test_what_cannot_be_had_is_an_error_if_asked_for(tiny: Callable[..., Run]) -> None:
    """With what binds, the nearest blend and the largest budget; else it is the nearest, and a warning."""
    table = blend(4_000, *BOTH)
    run = tiny(SOURCES, table, until="blend")
    available = {name: entry["available_tokens"] for name, entry in figures(run).items()}
    largest = min(int(2 * available["web"] / 0.75), int(2 * available["notes"] / 0.25))
    assert run.figures["blend"]["largest_tokens"] == largest
    assert run.figures["blend"]["binding"] == [
        f"group {name}: its {available[name]} tokens may stand at most 2 times" for name in ("web", "notes")
    ]
    assert f"blend: all that is asked can be had up to {largest:,} tokens, not 4,000" in run.warnings
    with pytest.raises(CurationError, match="the blend that is asked for cannot be had") as caught:
        tiny(SOURCES, table, 'blend.short="error"', until="blend")
    assert f"group web: asked for 3,000 tokens, got {2 * available['web']:,}" in str(caught.value)
    assert f"the nearest has {2 * sum(available.values()):,} tokens" in str(caught.value)
    assert f"lower blend.tokens to {largest}" in str(caught.value.remedy)
    tiny(SOURCES, table, 'blend.short="error"', f"blend.tokens={largest - 1}", until="blend")


def test_a_limit_that_is_missed_is_said(tiny: Callable[..., Run]) -> None:
    """By name, with what there is."""
    table = blend(100, *BOTH) + limit("french", "byte_count > 9999", min_share=0.2)
    run = tiny(SOURCES, table, until="blend")
    said = (
        "blend limit french: asked for 20 tokens by min_share, got 0: limit french: no kept document is counted by it"
    )
    assert said in run.warnings
    assert "blend: what is asked cannot be had together, whatever the budget" in run.warnings


@given(
    budget=st.integers(5, 400), share=st.floats(0.1, 0.9), limit_share=st.floats(0.05, 0.9),
    least=st.booleans(), best=st.booleans(), most=st.sampled_from([None, 4]),
)  # fmt: skip
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_twice_the_budget_holds_the_documents_of_the_first(
    tiny: Callable[..., Run], budget: int, share: float, limit_share: float, least: bool, best: bool, most: int | None
) -> None:
    """As often or more often, whatever shares, limits, orders and bounds, where both budgets can be met."""
    order = 'order = "byte_count desc"\n' if best else ""
    per_domain = "" if most is None else f"max_per_domain = {most}\n"
    table = group("web", "source = 'web'", share, 3) + order + group("notes", "true", 1 - share, 2) + per_domain
    table += limit("long", "byte_count > 30", **{"min_share" if least else "max_share": limit_share})

    def made(tokens: int) -> tuple[Run, dict[str, int]]:
        run = tiny(SOURCES, blend(tokens, table), until="blend")
        return run, copies(run)

    (small, one), (large, two) = made(budget), made(2 * budget)
    if not large.figures["blend"]["binding"] and not small.figures["blend"]["binding"]:
        assert all(two[uri] >= count for uri, count in one.items())
    for run in (small, large):
        (entry,) = run.figures["blend"]["limits"]
        assert run.figures["blend"]["tokens"] <= run.figures["blend"]["asked_tokens"]
        assert least or entry["tokens"] <= limit_share * max(run.figures["blend"]["tokens"], 1) + 3 * 12


def test_a_minimum_that_is_missed_is_said(tiny: Callable[..., Run]) -> None:
    """With how much it is, and the bound that asks for it."""
    web = group("web", "source = 'web' and byte_count > 40") + "min_tokens = 80\n"
    run = tiny(SOURCES, blend(100, web, group("rest", "true") + "max_share = 1.0\n"), until="blend")
    there = figures(run)["web"]["available_tokens"]
    said = f"asked for 80 tokens by min_tokens, got {there}: its {there} tokens may stand at most 1 times"
    assert figures(run)["web"]["why"] == said
    assert f"blend group web: {said}" in run.warnings


# real documents


class Inline(LocalEngine):
    """Everything in this process, where constants can be changed."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], **_: Any) -> list[Any]:
        """As the engine does it, one after another."""
        return [function(item) for item in items]


@pytest.mark.data
def test_shares_on_real_documents(
    data: Path, tiny: Callable[..., Run], tmp_path: Path, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three groups and a limit: to half a percent or a document; parts and workers decide nothing; 2x holds 1x."""
    books = pq.read_table(data / "textbooks/openstax.parquet", columns=["subject", "text"])
    pairs = zip(books["subject"].to_pylist(), books["text"].to_pylist(), strict=True)
    documents = [{"text": text, "title": subject, "uri": str(n)} for n, (subject, text) in enumerate(pairs)]
    wheres = {"math": "title = 'mathematics'", "thought": "title in ('philosophy', 'anthropology')", "rest": "true"}
    shares = {"math": 0.5, "thought": 0.2, "rest": 0.3}
    table = blend(1_000_000, *(group(name, where, shares[name], 2) for name, where in wheres.items()))
    table += limit("long", "byte_count > 40000", max_share=0.1)
    tiny({"books": documents}, table, until="pull")

    def made(engine: LocalEngine, *settings: str) -> tuple[Run, dict[str, bytes]]:
        run = pipeline.run(load(tmp_path / "recipe.toml", settings), engine, until="blend")
        files = (tmp_path / run.recipe.work if run.recipe.work else tmp_path / "work/tiny").rglob(
            "blend/books/*.parquet"
        )
        return run, {file.name: file.read_bytes() for file in files}

    run, _ = made(engine)
    one = copies(run)
    assert len(run.parts) == 1
    longest = max(row["tokens"] for row in rows(run).values())
    for entry in run.figures["blend"]["groups"]:
        asked = shares[entry["name"]] * 1_000_000
        assert asked - max(0.005 * asked, longest) <= entry["tokens"] <= asked + 1
    (entry,) = run.figures["blend"]["limits"]
    assert 0.08 * 1_000_000 < entry["tokens"] <= 0.1 * 1_000_000
    assert max(one.values()) <= 2
    assert not run.warnings

    monkeypatch.setattr("curation.pull.PART_BYTES", 1_000_000)
    for module in ("documents", "pull"):
        monkeypatch.setattr(f"curation.{module}.ROW_GROUP_BYTES", 500_000)
    split, first = made(Inline(1), "work=eight")
    assert len(split.parts) >= 8
    assert copies(split) == one
    assert split.figures["blend"] == run.figures["blend"]
    monkeypatch.setattr("curation.run.LITTLE", 0)  # now in two processes
    for folder in ("groups", "blend"):
        shutil.rmtree(tmp_path / "eight" / folder)
    assert made(engine, "work=eight")[1] == first

    released = []
    for name, more in (("whole", ()), ("split", ("work=eight",))):
        asked_for = (*more, f"release.to={name}", "release.version=2026.01.01", "release.shard_bytes=1000000")
        pipeline.run(load(tmp_path / "recipe.toml", asked_for), engine)
        folder = tmp_path / name / "tiny/2026.01.01"
        files = {file.name: file.read_bytes() for file in sorted(folder.rglob("data/*.parquet"))}
        released.append((files, json.loads((folder / "manifest.json").read_text()) | {"created_at": None}))
    assert len(released[0][0]) > 1
    assert released[0] == released[1]
    again = pipeline.run(load(tmp_path / "recipe.toml", ("release.to=split", "release.shard_bytes=1000000")), engine)
    assert not again.figures["publish"]["published"]  # cut otherwise, it is what lies there

    twice = copies(made(engine, "work=eight", "blend.tokens=2_000_000")[0])
    assert all(twice[uri] >= count for uri, count in one.items())
