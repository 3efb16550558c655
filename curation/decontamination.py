"""How well contamination is found: benchmark items planted into copies of clean documents, and look-alikes.

Every run that has benchmarks plants some items, altered in the ways in which they turn up on the web, and counts how
many the signal finds; and it looks for the other items in some that it was not told of, where it should find none.
What is planted depends on the recipe's seed, the items and the documents alone.
"""

from __future__ import annotations

import html
import json
import re
import textwrap
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from xxhash import xxh3_64_intdigest

from curation.dataset import fingerprint
from curation.signals import contamination
from curation.signals.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from curation.dataset import Part, Workspace
    from curation.run import Run
    from curation.signals.contamination import Contamination, Index, Item

#: Raised when the same items are planted into the same documents otherwise.
VERSION = 1
#: Items that are planted in each way, and clean documents that are used in turn.
PLANTED = 200
#: Look-alikes that are looked at.
LOOKALIKES = 1000
#: From so many row groups documents are taken at most, so many from each, and so many characters of each.
_GROUPS, _DOCUMENTS, _CHARACTERS = 32, 25, 20_000
#: Questions of fewer words are planted as `short` alone.
SHORT = 13
#: One word in so many is changed.
CHANGED = 25

#: The file in WORK that keeps the figures.
_RECORD = "decontamination.json"
#: A word, near enough to what the signal takes for one; a Thai, Han or Kana letter is one of its own.
_ALONE = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_ALONE}]|(?:(?![{_ALONE}])[^\W_])+")
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def _pick(most: int, *key: object) -> int:
    """A number below `most`, always the same for one key."""
    return xxh3_64_intdigest("\x1f".join(map(str, key)).encode()) % most


def _as_it_is(text: str) -> str:
    return text


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 40, break_long_words=False, break_on_hyphens=True)


def _other_case(text: str) -> str:
    return text.swapcase()


def _other_punctuation(text: str) -> str:
    """Each mark left out or changed for another, or an apostrophe or hyphen inside a word; new ones between words.

    >>> _other_punctuation("Call me, Ann.") not in ("Call me, Ann.", "Call me Ann")
    True
    """

    def other(found: re.Match[str]) -> str:
        before, after = text[: found.start()][-1:], text[found.end() :][:1]
        inside = before.isalnum() and after.isalnum()
        marks = ("\u2019", "-", "") if inside else (",", ";", "!", "", "\u2026")
        return marks[_pick(len(marks), text, found.start())]

    changed = _PUNCTUATION.sub(other, text)
    return re.sub(
        r" (?=\w)", lambda found: (" ", " — ", " “", ", ")[max(0, _pick(40, text, found.start()) - 36)], changed
    )


def _escaped(text: str) -> str:
    return html.escape(text).replace("  ", "&nbsp; ").replace("\u2019", "&rsquo;")


def _indented(text: str) -> str:
    """Every line at another depth, with space around what is written without."""
    lines = [f"\t{' ' * 3 * (len(line) - len(line.lstrip()))}{line.lstrip()}" for line in text.splitlines()]
    return "\r\n".join(re.sub(r"(?<=[\w)\]])([=+*/,:])(?=[\w(\[])", r" \1 ", line) for line in lines)


def _changed(text: str) -> str:
    """One word in `CHANGED` changed for another, at least one."""
    words = list(_WORD.finditer(text))
    places = [
        CHANGED * n + _pick(min(CHANGED, len(words) - CHANGED * n), text, n)
        for n in range(max(1, len(words) // CHANGED))
    ]
    for place in reversed(places):
        word = words[place]
        text = f"{text[: word.start()]}{'some' if word[0].lower() != 'some' else 'other'}{text[word.end() :]}"
    return text


#: The ways in which items are planted; `short` is that of questions of fewer than `SHORT` words.
WAYS: dict[str, Callable[[str], str]] = {
    "verbatim": _as_it_is,
    "wrapped": _wrapped,
    "case": _other_case,
    "punctuation": _other_punctuation,
    "escaped": _escaped,
    "indented": _indented,
    "changed": _changed,
    "short": _as_it_is,
}


@dataclass(frozen=True, slots=True)
class Findings:
    """What was planted and found, by way; and of so many look-alikes how many were taken for items."""

    planted: dict[str, int]
    found: dict[str, int]
    lookalikes: int
    false_alarms: int


def planted(document: str, text: str, *key: object) -> str:
    """The document with the text between two of its words, in its line or as a paragraph."""
    gaps = [gap.start() for gap in re.finditer(r"\s", document)]
    place = gaps[_pick(len(gaps), "place", *key)] if gaps else len(document)
    between = ("\n\n", " ")[_pick(2, "between", *key)]
    return f"{document[:place]}{between}{text}{between}{document[place:]}"


def chosen(items: Sequence[Item], most: int, *key: object) -> list[Item]:
    """At most so many of the items, in an order that depends on the key and their names."""
    return sorted(items, key=lambda item: (_pick(1 << 63, *key, item.name), item.name))[:most]


def try_out(known: Index, items: Sequence[Item], documents: Sequence[str], seed: int, most: int = PLANTED) -> Findings:
    """Plant items into the documents, which hold none, and look for them."""
    short = [item for item in items if len(_WORD.findall(item.question)) < SHORT]
    long = [item for item in items if len(_WORD.findall(item.question)) >= SHORT]
    sown, found = {}, {}
    for way, alter in WAYS.items():
        mine = chosen(short if way == "short" else long, most, seed, way)
        texts = [
            planted(documents[number % len(documents)], alter(item.question), seed, way, item.name)
            for number, item in enumerate(mine)
        ]
        sown[way] = len(mine)
        found[way] = sum(item.name in names for item, names in zip(mine, _found(known, texts), strict=True))
    told, unknown = _apart(chosen(items, len(items), seed, "unknown"), LOOKALIKES)
    alarms = sum(map(bool, _found(contamination.index(told), [item.question for item in unknown])))
    return Findings(sown, found, len(unknown), alarms)


def _apart(items: Sequence[Item], most: int) -> tuple[list[Item], list[Item]]:
    """The second half of the items, and of the first so many of which no `SHORT` words stand in it.

    Benchmarks have items twice, and several about one passage: such are no look-alikes.
    """
    half = len(items) // 2
    told = list(items[half:])
    there = set().union(*(_runs(item.question) for item in told))
    return told, [item for item in items[:half] if there.isdisjoint(_runs(item.question))][:most]


def _runs(text: str) -> set[tuple[str, ...]]:
    """Every run of `SHORT` words; all the words of a shorter text."""
    words = _WORD.findall(text.lower())
    return {tuple(words[place : place + SHORT]) for place in range(max(1, len(words) - SHORT + 1))}


def _found(known: Index, texts: Sequence[str]) -> list[list[str]]:
    batch = Batch(pa.array(texts, pa.string()))
    names: list[list[str]] = contamination.find(known, batch)["contamination_items"].to_pylist()
    return names


# In a run


@dataclass(frozen=True, slots=True)
class TryOut:
    """What one worker needs to plant and look."""

    work: Workspace
    parts: list[Part]
    signal: Contamination
    seed: int

    def __str__(self) -> str:
        return "planted items"


def decontamination(run: Run) -> dict[str, Any] | None:
    """How well this run finds its benchmarks, None where it has none; kept until what it is made from changes."""
    signal = run.signals.get("contamination")
    if not isinstance(signal, contamination.Contamination):
        return None
    sidecars = [made_from["contamination"] for made_from in run.signals_from.values()]
    made_from = fingerprint("decontamination", VERSION, run.recipe.seed, signal.VERSION, sidecars)
    record = _kept(run)
    if record.get("made_from") != made_from:
        task = TryOut(run.work, list(run.parts), signal, run.recipe.seed)
        [tried] = run.engine.map(_try_out, [task], label="measure: planted items")
        record = {"made_from": made_from, "figures": tried}
        run.work.storage.write(_RECORD, json.dumps(record).encode())
    figures: dict[str, Any] = record["figures"]
    _warn(run, figures)
    return figures


def _kept(run: Run) -> dict[str, Any]:
    try:
        record = json.loads(run.work.storage.read(_RECORD) or b"{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _warn(run: Run, figures: Mapping[str, Any]) -> None:
    planted, found = figures["planted"]["verbatim"], figures["found"]["verbatim"]
    if found < 0.95 * planted:
        run.warn(
            f"contamination: of {planted:,} items planted as they are only {found:,} are found: do the fields of the "
            "benchmarks hold their questions? See signals.contamination.question_fields"
        )


def _try_out(task: TryOut) -> dict[str, Any]:
    items = task.signal.items()
    known = contamination.index(items)
    documents = clean_documents(task.work, task.parts, task.seed)
    findings = try_out(known, items, documents or [""], task.seed)
    return {"items": len(items), "looked_for": known.looked_for, "documents": len(documents), **asdict(findings)}


def clean_documents(work: Workspace, parts: Sequence[Part], seed: int) -> list[str]:
    """The beginnings of at most `PLANTED` documents in which the signal found nothing, from a few row groups."""
    found: list[str] = []
    groups = 0
    for part in sorted(parts, key=lambda part: (_pick(1 << 63, seed, part), part)):
        measured = work.signal("contamination").read(part, ["is_contaminated"])["is_contaminated"].to_pylist()
        sizes = [rows for rows, _ in work.documents.groups(part, "text")]
        group = _pick(len(sizes), seed, part, "group") if sizes else -1
        if group < 0:
            continue
        rows = work.documents.read_groups(part, [group], ["id", "text"]).to_pylist()
        hit = measured[sum(sizes[:group]) :]
        clean = [row for row, bad in zip(rows, hit, strict=False) if row["text"] and not bad]
        clean.sort(key=lambda row: (_pick(1 << 63, seed, row["id"]), row["id"]))
        found += [row["text"][:_CHARACTERS] for row in clean[:_DOCUMENTS]]
        groups += 1
        if len(found) >= PLANTED or groups == _GROUPS:
            break
    return found[:PLANTED]
