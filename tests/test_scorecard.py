"""The scorecard tells the same of raw, kept and blended text as a slow count by hand, whatever the parts."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from curation.releases import latest
from curation.report.scorecard import ABOUT, BODIES, MEANS, SPREADS, even
from curation.report.shown import score, verdict
from curation.run import release_place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from curation.run import Run

LINE = "The heart pumps blood through the body, because cells need oxygen."
SOURCES = {
    "web": [
        *({"text": f"{LINE} No. {n}.\n" * (1 + n % 3), "uri": f"https://a{n % 4}.example/{n}"} for n in range(12)),
        {"text": "Read more at https://b.example/x ...\nAnd then...\nBuy now", "uri": "https://spam.example/1"},
        {"text": "Das Herz pumpt das Blut durch den Körper, denn Zellen brauchen Sauerstoff.", "uri": "https://c.example/"},
    ],
    "notes": [{"text": "Ã©tÃ© " + f"{LINE} " * 30, "uri": "one"}, {"text": "", "uri": "empty"}, {"nothing": 1}],
}  # fmt: skip
BLEND = (
    '[dedup]\nenabled = false\n[rules]\nspam = "url_count > 0"\n[blend]\ntokens = 900\nrest = "drop"\n'
    '[[blend.group]]\nname = "web"\nwhere = "source = \'web\'"\nshare = 0.6\nmax_copies = 3\n'
    '[[blend.group]]\nname = "notes"\nwhere = "true"\nshare = 0.4\n'
)


def by_hand(run: Run, value: Callable[[dict[str, Any]], Any], body: str) -> list[tuple[Any, int]]:
    """Each document's value with the tokens it has in a body of text."""
    found = []
    for part in run.parts:
        names = [*dict.fromkeys(["byte_count", "error", "source", *run.work.columns])]
        rows = run.work.read(part, [name for name in names if name != "id"]).to_pylist()
        keeps = run.work.verdicts.read(part, ["keep"])["keep"].to_pylist()
        blended = run.work.blend.read(part).to_pylist()
        for row, keep, chosen in zip(rows, keeps, blended, strict=True):
            if row["error"] is None and row["byte_count"] > 0:
                pulled = -(-row["byte_count"] // 4)
                weight = {"raw": pulled, "kept": pulled * keep, "blended": chosen["copies"] * chosen["tokens"]}[body]
                found.append((value(row), weight))
    return found


#: Each mean again, in Python.
PLAIN: dict[str, Callable[[dict[str, Any]], float]] = {
    "repeated lines": lambda row: row["duplicate_line_char_ratio"],
    "repeated phrases": lambda row: row["duplicate_5gram_char_ratio"],
    "symbols": lambda row: row["symbol_ratio"],
    "broken characters": lambda row: float(row["mojibake_count"] + row["replacement_char_count"] > 0),
    "cut-off lines": lambda row: row["ellipsis_line_ratio"],
    "unfinished lines": lambda row: 1 - row["terminal_punctuation_line_ratio"],
    "boilerplate": lambda row: row["shared_line_ratio"],
    "links": lambda row: 1_000 * row["url_count"] / max(1, row["word_count"]),
    "educational score": lambda row: row["education_score"],
    "good text": lambda row: float(row["education_score"] >= 2.5),
}
KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "hosts": lambda row: row["registered_domain"] or row["source"],
    "lengths": lambda row: int(math.log2(max(1, row["word_count"]))),
    "languages": lambda row: row["language"],
    "sources": lambda row: row["source"],
}


def test_every_measure_is_as_counted_by_hand(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Of the three bodies; in figures, manifest, report and card."""
    assert set(PLAIN) == {mean.name for mean in MEANS}
    assert set(KINDS) == {spread.name for spread in SPREADS}
    run = tiny(SOURCES, BLEND, bare=False)
    card = run.figures["report"]["scorecard"]
    assert [quality["quality"] for quality in card] == list(ABOUT)
    rows = {row["name"]: row for quality in card for row in quality["measures"]}
    assert set(rows) == {*PLAIN, *KINDS}
    for body in BODIES:
        for name, value in PLAIN.items():
            counted = by_hand(run, value, body)
            mean = sum(one * weight for one, weight in counted) / sum(weight for _, weight in counted)
            assert rows[name][body] == pytest.approx(mean, abs=2e-4 * (1_000 if name == "links" else 1)), (name, body)
        for name, kind in KINDS.items():
            tokens: Counter[Any] = Counter()
            for one, weight in by_hand(run, kind, body):
                tokens[one] += weight
            shares = [count / sum(tokens.values()) for count in tokens.values() if count]
            expected = math.exp(-sum(share * math.log(share) for share in shares))
            assert rows[name][body] == pytest.approx(expected, abs=1e-3), (name, body)
            assert rows[name][f"{body}_there"] == len(shares)
    assert rows["links"]["raw"] > rows["links"]["kept"] == 0
    release = latest(release_place(run.recipe), run.recipe.name)
    assert release is not None
    manifest = release.manifest()
    assert manifest is not None
    assert manifest["scorecard"] == card
    page, text = (
        (tmp_path / "work/tiny/report.html").read_text(),
        (tmp_path / f"releases/tiny/{release.version}/README.md").read_text(),
    )
    for name, row in rows.items():
        assert name in page
        assert f"{name}: " in text
        assert score(row, "blended") in text


def test_the_parts_decide_nothing(tiny: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """One task for all parts, or one for each."""
    run = tiny(SOURCES, BLEND, bare=False, until="report")
    whole = run.figures["report"]["scorecard"]
    monkeypatch.setattr("curation.report.counting._DOCUMENTS_A_TASK", 1)
    run.work.storage.remove("report.json")
    again = tiny(SOURCES, BLEND, bare=False, until="report")
    assert again.figures["report"]["scorecard"] == whole


def test_what_is_off_is_left_out(tiny: Callable[..., Run]) -> None:
    """With lengths and addresses alone there are hosts, lengths and sources."""
    run = tiny(SOURCES, '[dedup]\nenabled = false\n[blend]\nrest = "drop"\n', until="report")
    names = [row["name"] for quality in run.figures["report"]["scorecard"] for row in quality["measures"]]
    assert names == ["hosts", "lengths", "sources"]


def test_nothing_in_a_body_is_no_number(tiny: Callable[..., Run]) -> None:
    """Where no document is kept."""
    run = tiny({"s": [{"text": "one two", "uri": "x"}]}, '[rules]\nall_of_it = "true"\n', bare=False, until="report")
    for quality in run.figures["report"]["scorecard"]:
        for row in quality["measures"]:
            assert row["raw"] is not None
            assert (row["kept"], row["blended"]) == (None, None)
            assert (score(row, "kept"), verdict(row, "kept")) == ("-", "")


def test_even_shares() -> None:
    """As many as there are where they are equal, near one where one has all."""
    import numpy as np  # noqa: PLC0415

    assert even(np.array([])) is None
    assert even(np.array([7.0])) == 1.0
    assert even(np.full(40, 3.0)) == 40.0


@pytest.mark.parametrize(
    ("better", "raw", "kept", "said"),
    [("less", 0.2, 0.1, "better"), ("less", 0.1, 0.2, "worse"), ("more", 2.0, 3.0, "better"), ("more", 2.0, 2.0, "")],
)
def test_better_and_worse(better: str, raw: float, kept: float, said: str) -> None:
    """By which way is better; nothing where both read the same."""
    row = {"unit": "number", "better": better, "raw": raw, "kept": kept}
    assert verdict(row, "kept") == said
