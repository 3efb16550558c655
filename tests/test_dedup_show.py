"""`curate dedup show`: the cluster of a document, what became of each of it, and what differs in two texts."""

from __future__ import annotations

import json
import random
import re
import time
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from curation import clusters, pipeline
from curation.cli import cli
from curation.clusters import cluster
from curation.dataset import Dataset
from curation.difference import CHARACTERS, WORDS, difference
from curation.errors import CurationError, StorageError, UsageError
from curation.recipe import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from curation.engine import LocalEngine
    from curation.recipe import Recipe
    from curation.run import Run

TIDES = "https://harbour-guide.example/visitors/tides"
ITS_COPY = "https://shorelines.example/explain/why-tides-come-twice-a-day"
DEDUP = '[dedup]\nprefer = "uri"\nmax_loss = 1.0\n'


@pytest.fixture(scope="module")
def judged(sample: Path, tmp_path_factory: pytest.TempPathFactory, engine: LocalEngine) -> Path:
    """A WORK in which the sample was judged."""
    work = tmp_path_factory.mktemp("judged") / "work"
    pipeline.run(load(sample, work=str(work)), engine, until="judge")
    return work


@pytest.fixture
def show(sample: Path, judged: Path) -> Callable[..., str]:
    """What `curate dedup show` prints of the sample; it warns of nothing."""

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["dedup", "show", str(sample), *arguments, "--work", str(judged)])
        assert (done.exit_code, done.stderr) == (0, ""), done.exception
        return done.stdout

    return run


def chain() -> dict[str, list[dict[str, Any]]]:
    """Five texts of 100 words, twelve of them new in each, an exact copy, and one of its own."""
    words = [f"word{number}" for number in range(100)]
    texts = [" ".join([f"new{number}" for number in range(12 * step)] + words[12 * step :]) for step in range(5)]
    rows = [{"text": text, "uri": f"u{step}"} for step, text in enumerate(texts)]
    return {"s": rows, "t": [{"text": texts[0].upper() + "\n", "uri": "v0"}, {"text": "quite alone", "uri": "alone"}]}


# On the sample


def test_a_copy_is_shown_with_the_kept_one_and_what_differs(show: Callable[..., str]) -> None:
    """The asked document is marked, the kept one first; then the words, and only those, that were changed."""
    lines = show(ITS_COPY).splitlines()
    gone, kept = lines[0].partition(":")[0], lines[0].split(" of ")[1].partition(",")[0]
    assert lines[0] == f"{gone}: duplicate of {kept}, similarity 0.824"
    assert "cluster of 2 documents: 1 kept, 1 duplicate; > is the one asked for" in lines
    table = [line.split() for line in lines if TIDES in line or ITS_COPY in line]
    assert table[1:3] == [["1.000", kept, "kept", "web", TIDES], [">", "0.824", gone, "duplicate", "web", ITS_COPY]]
    assert f"--- {gone} {ITS_COPY} (duplicate)" in lines
    assert f"+++ {kept} {TIDES} (kept), similarity 0.824" in lines
    assert "  ten minutes. By supper the [-sea is-]{+waves are+} at the wall again. The" in lines
    assert "\x1b" not in "".join(lines)


def test_a_kept_one_is_compared_with_what_went(show: Callable[..., str]) -> None:
    """From either side the same words go and stay; the beginning of an id will do."""
    kept = show(TIDES)
    assert kept.splitlines()[0].endswith(": kept")
    copy = show(ITS_COPY)
    assert kept[kept.index("--- ") :] == copy[copy.index("--- ") :]
    assert show(kept[:12]) == kept


def test_exact_copies_have_a_sentence(show: Callable[..., str]) -> None:
    """Where the texts are the same there is nothing to mark."""
    lines = show("https://open-textbook.example/revision/fractions").splitlines()
    assert lines[-1] == "the two texts are the same, character for character"
    assert "{+" not in "".join(lines)


def test_json_says_the_same(show: Callable[..., str]) -> None:
    """Members, fates and the difference, stretch by stretch."""
    found = json.loads(show(ITS_COPY, "--json"), parse_constant=pytest.fail)
    assert (found["documents"], found["fates"], found["more"]) == (2, {"kept": 1, "duplicate": 1}, 0)
    assert [one["uri"] for one in found["members"]] == [TIDES, ITS_COPY]
    assert found["asked"]["duplicate_of"] == found["centre"] == found["members"][0]["id"]
    assert [one["similarity"] for one in found["members"]] == [1.0, 0.8241]
    changed = [one for change in found["pair"]["difference"]["changes"] for one in change if one["kind"] != "="]
    assert {"kind": "-", "text": " sea is"} in changed
    assert {"kind": "+", "text": " waves are"} in changed


def test_colours_are_for_a_terminal(sample: Path, judged: Path) -> None:
    """What went is red there, and what stays green."""
    call = ["dedup", "show", str(sample), ITS_COPY, "--work", str(judged)]
    shown = CliRunner().invoke(cli, call, color=True).stdout
    assert "\x1b[31m[-sea is-]\x1b[0m\x1b[32m{+waves are+}\x1b[0m" in shown


def test_two_texts_alone_are_read(show: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the texts, one row group for each of the two."""
    reads = []
    for name in ("read", "read_groups", "scan", "batches", "pick"):
        whole = getattr(Dataset, name)

        def watched(self: Dataset, *arguments: Any, whole: Any = whole) -> Any:
            named = [one for one in arguments if isinstance(one, list) and all(isinstance(each, str) for each in one)]
            if self.name == "documents" and (not named or "text" in named[-1]):
                reads.append((whole.__name__, arguments[1]))
            return whole(self, *arguments)

        monkeypatch.setattr(Dataset, name, watched)
    assert "waves are" in show(ITS_COPY)
    assert [name for name, _ in reads] == ["pick", "pick"]


# Clusters

#: Pairs of the chain are found for sure: one band of one row agrees.
EXACT = f'{DEDUP}similarity = 0.7\nverify = "exact"\nbands = 64\nrows = 1\n[rules]\nlate = "uri = \'u3\'"\n'


@pytest.fixture
def chained(tiny: Callable[..., Run]) -> Recipe:
    """The recipe of a chain that was judged."""
    return tiny(chain(), EXACT, until="judge").recipe


def test_a_chain_is_one_cluster(chained: Recipe) -> None:
    """Fates are told apart; the kept one is first, then the most similar; who is only connected has no similarity."""
    found = cluster(chained, "u1")
    by_uri = {one.uri: one for one in found.members}
    assert [one.uri for one in found.members][:3] == ["u0", "v0", "u1"]
    assert {uri: one.fate for uri, one in by_uri.items()} == {
        "u0": "kept", "v0": "duplicate", "u1": "duplicate", "u2": "kept", "u3": "dropped", "u4": "kept",
    }  # fmt: skip
    nearest = round(84 / 108, 4)  # shingles: 96 a text, 84 of them in both
    assert [by_uri[f"u{step}"].similarity for step in range(5)] == [1.0, nearest, None, None, None]
    assert by_uri["v0"].similarity == 1.0
    assert (by_uri["u3"].reasons, by_uri["u1"].duplicate_of) == (["late"], found.centre)
    assert (found.documents, found.is_whole, found.fates) == (6, True, {"kept": 3, "duplicate": 2, "dropped": 1})
    assert found.pair is not None
    assert (found.pair.first.uri, found.pair.second.uri, found.pair.similarity) == ("u1", "u0", nearest)


def test_similarities_are_to_the_asked_one_where_it_is_no_copy(chained: Recipe) -> None:
    """A dropped document is its own centre; both neighbours are as near, and it is compared with the smaller id."""
    found = cluster(chained, "u3")
    assert found.centre == found.asked.id == found.members[0].id
    beside = [one for one in found.members[1:] if one.similarity is not None]
    assert {one.uri for one in beside} == {"u2", "u4"}
    assert found.pair is not None
    assert (found.pair.first.uri, found.pair.second.id) == ("u3", min(one.id for one in beside))


def test_the_other_may_be_chosen(chained: Recipe) -> None:
    """In the cluster or not; a kept one stands second, else the asked one first."""
    far = cluster(chained, "u1", "alone").pair
    assert far is not None
    assert (far.first.uri, far.second.uri, far.similarity) == ("u1", "alone", None)
    same = cluster(chained, "u0", "v0").pair
    assert same is not None
    assert (same.first.uri, same.same, same.similarity, same.difference) == ("v0", "normalised", 1.0, None)
    two = cluster(chained, "u2", "u1").pair
    assert two is not None
    assert (two.first.uri, two.similarity) == ("u1", round(80 / 112, 4))


def test_the_list_ends_where_it_is_told_to(chained: Recipe) -> None:
    """What is more is counted; the asked document is described though it is not in the list."""
    found = cluster(chained, "u4", limit=1)
    assert ([one.uri for one in found.members], found.more, found.documents) == (["u4"], 5, 6)
    found = cluster(chained, "u1", limit=1)
    assert ([one.uri for one in found.members], found.asked.uri) == (["u0"], "u1")
    shown = CliRunner().invoke(cli, ["dedup", "show", str(chained.path), "u1", "--limit", "2"]).stdout
    assert "4 more: --limit 6 lists them" in shown


def test_a_large_cluster_is_followed_so_far(chained: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there may be more documents it says so, be it for their number or for their distance."""
    monkeypatch.setattr(clusters, "STEPS", 2)
    found = cluster(chained, "u0")
    assert {"u0", "v0"} < {one.uri for one in found.members} < {"u0", "v0", "u1", "u2", "u3"}
    assert not found.is_whole
    monkeypatch.setattr(clusters, "STEPS", 50)
    monkeypatch.setattr(clusters, "DOCUMENTS", 3)
    found = cluster(chained, "u0")
    assert (found.documents, found.is_whole) == (3, False)
    shown = CliRunner().invoke(cli, ["dedup", "show", str(chained.path), "u0"]).stdout
    assert "cluster of at least 3 documents" in shown


def test_a_document_without_a_copy(chained: Recipe) -> None:
    """Is told to stand alone, without a difference."""
    done = CliRunner().invoke(cli, ["dedup", "show", str(chained.path), "alone"])
    assert done.stdout.splitlines()[-1] == "no other document was found to be at least 0.7 similar to it"
    assert cluster(chained, "alone").pair is None


def test_documents_of_one_uri(tiny: Callable[..., Run]) -> None:
    """The one that has a copy is shown, the others are named."""
    rows = [{"text": "one of its own", "uri": "u"}, {"text": "two the same", "uri": "u"}, {"text": "two the same"}]
    recipe = tiny({"s": rows}, DEDUP, until="judge").recipe
    found = cluster(recipe, "u")
    assert (found.documents, len(found.also)) == (2, 1)
    assert found.also[0] not in {one.id for one in found.members}


def test_equal_signatures_are_shown_with_their_words(tiny: Callable[..., Run]) -> None:
    """Near copies of similarity 1 differ in punctuation, and it is said in what."""
    recipe = tiny(
        {"s": [{"text": "so it is.", "uri": "a"}, {"text": "so it is!", "uri": "b"}]}, DEDUP, until="judge"
    ).recipe
    pair = cluster(recipe, "b").pair
    assert pair is not None
    assert (pair.similarity, pair.same) == (1.0, None)
    assert pair.difference is not None
    assert [(one.kind, one.text) for one in pair.difference.changes[0]] == [("=", "so it is"), ("-", "!"), ("+", ".")]


def test_control_characters_are_never_printed(tiny: Callable[..., Run]) -> None:
    """Nor what turns the direction of text, of texts, URIs and names alike."""
    text = " ".join(f"word{number}" for number in range(40))
    rows = [
        {"text": f"{text} \x1b[2Jgone\x07 \u202eend", "uri": "a\x1b]0;x"},
        {"text": f"{text} stays end", "uri": "\u2066b"},
    ]
    recipe = tiny({"s": rows}, DEDUP, until="judge").recipe
    done = CliRunner().invoke(cli, ["dedup", "show", str(recipe.path), "\u2066b"])
    assert done.exit_code == 0, done.stderr
    assert r"\x1b[2Jgone\x07" in done.stdout
    assert r"\u202e" in done.stdout
    assert {letter for letter in done.stdout if unicodedata.category(letter) in ("Cc", "Cf")} == {"\n"}


def test_a_run_ends_with_its_largest_cluster(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """And the source that loses most by share, not by number; nothing is said where there is no copy."""
    words = [" ".join(f"{name}{number}" for number in range(30)) for name in "abcd"]
    many = [{"text": words[number % 3], "uri": f"m{number}"} for number in range(9)]
    sources = {"many": [*many, *({"text": f"alone {n}"} for n in range(9))], "few": [{"text": words[3]}] * 3}
    recipe = tiny(sources, DEDUP, until="pull").recipe
    done = CliRunner().invoke(cli, ["run", str(recipe.path), "--until", "report"])
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("duplicates:")]
    told = "duplicates: most in few, 66.7% of what passed the rules; 3 documents in the largest cluster: curate dedup "
    assert line.startswith(f"{told}show ")
    found = CliRunner().invoke(cli, line.partition("curate ")[2].split())
    assert "cluster of 3 documents: 1 kept, 2 duplicates;" in found.stdout
    (tmp_path / "few.jsonl").write_text("")
    (tmp_path / "many.jsonl").write_text(json.dumps({"text": "alone"}))
    done = CliRunner().invoke(cli, ["run", str(recipe.path), "--until", "report"])
    assert done.exit_code == 0, done.output
    assert "duplicates:" not in done.stdout


# Wrong use


def test_wrong_use_is_one_message(sample: Path, judged: Path, tmp_path: Path) -> None:
    """What is wrong, and what to do."""
    recipe = load(sample, work=str(judged))
    for kind, arguments, words, remedy in (
        (UsageError, (recipe, "nowhere"), "no document has the id or URI 'nowhere'", "curate sql"),
        (UsageError, (recipe, TIDES, "nowhere"), "no document has the id or URI 'nowhere'", "curate sql"),
        (UsageError, (recipe, TIDES, TIDES), "does not differ from itself", "--with OTHER"),
        (UsageError, (load(sample, ("dedup.enabled=false",), work=str(judged)), TIDES), "dedup.enabled is false",
         "--set dedup.enabled=true --until judge"),
        (StorageError, (load(sample, work=str(tmp_path / "none")), TIDES), "nothing was run here yet", "curate run"),
    ):  # fmt: skip
        with pytest.raises(kind, match=re.escape(words)) as caught:
            cluster(*arguments)
        assert remedy in (caught.value.remedy or "")
        assert "\n" not in caught.value.message
    for option in (["--limit", "0"], ["--words", "0"], ["--with"]):
        assert CliRunner().invoke(cli, ["dedup", "show", str(sample), TIDES, *option]).exit_code == 2


def test_a_text_that_is_not_there_cannot_be_compared(tiny: Callable[..., Run]) -> None:
    """An error has none."""
    recipe = tiny({"s": [{"text": "one two", "uri": "a"}, {"error": "torn", "uri": "b"}]}, DEDUP, until="judge").recipe
    assert cluster(recipe, "b").asked.fate == "error"
    with pytest.raises(UsageError, match="no text to compare") as caught:
        cluster(recipe, "a", "b")
    assert "curate explain" in (caught.value.remedy or "")


def test_a_run_that_did_not_come_so_far(tiny: Callable[..., Run]) -> None:
    """Before compare, before judge, and where documents were pulled since."""
    rows = [{"text": "one two", "uri": "a"}, {"text": "one two", "uri": "b"}]
    for stage in ("measure", "compare"):
        recipe = tiny({"s": rows}, DEDUP, until=stage).recipe
        with pytest.raises(StorageError, match="copies were not looked for yet") as caught:
            cluster(recipe, "a")
        assert "--until judge" in (caught.value.remedy or "")
    recipe = tiny({"s": rows}, DEDUP, until="judge").recipe
    assert cluster(recipe, "a").documents == 2
    recipe = tiny({"s": [{"text": "three", "uri": "c"}]}, DEDUP, until="pull").recipe
    with pytest.raises(CurationError, match="pulled since") as caught:
        cluster(recipe, "c")
    assert "--until judge" in (caught.value.remedy or "")


def test_verdicts_of_another_recipe_are_said_to_be(sample: Path, judged: Path) -> None:
    """As `curate explain` says it."""
    call = ["dedup", "show", str(sample), TIDES, "--work", str(judged), "--set", "dedup.similarity=0.8"]
    done = CliRunner().invoke(cli, call)
    assert (done.exit_code, done.stderr.count("\n")) == (0, 1)
    assert done.stderr.startswith("warning: the last run was not of this recipe")


# The difference of two texts


def sides(first: str, second: str, most: int = 10**6) -> tuple[str, str]:
    """Both texts as their difference tells them, white space and what it leaves out aside."""
    found = difference(first, second, most)
    stretches = [one for change in found.changes for one in change]
    return tuple("".join(one.text for one in stretches if one.kind in ("=", sign)).replace(" ", "") for sign in "-+")  # type: ignore[return-value]


@given(st.lists(st.sampled_from("abcd ."), max_size=14), st.lists(st.sampled_from("abcd .\n"), max_size=14))
def test_a_difference_holds_both_texts(first: list[str], second: list[str]) -> None:
    """Short texts, of which all is near a change, are there whole; without a change there is nothing."""
    one, other = " ".join(first), " ".join(second)
    both = tuple("".join(text.split()) for text in (one, other))
    if both[0] == both[1]:
        assert difference(one, other).changes == []
    else:
        gone, stays = sides(one, other)
        assert gone in both[0]
        assert stays in both[1]
        assert len(both[0]) - len(gone) == len(both[1]) - len(stays)  # what is left out is common to both


def test_only_words_near_a_change_are_shown() -> None:
    """Six on each side; changes that are farther apart stand for themselves."""
    words = [f"w{number}" for number in range(60)]
    changed = [*words[:20], "X", *words[21:25], *words[26:50], "Y", *words[50:]]
    found = difference(" ".join(words), "\n".join(changed))
    shown = ["".join({"=": "{}", "-": "[-{}-]", "+": "{{+{}+}}"}[one.kind].format(one.text) for one in change)
             for change in found.changes]  # fmt: skip
    assert shown == [
        " w14 w15 w16 w17 w18 w19[- w20-]{+ X+} w21 w22 w23 w24[- w25-] w26 w27 w28 w29 w30 w31",
        " w44 w45 w46 w47 w48 w49{+ Y+} w50 w51 w52 w53 w54 w55",
    ]
    assert (found.changed, found.shown, found.is_whole) == (4, 4, True)


def test_what_both_have_stands_apart_from_what_one_has() -> None:
    """Where only one of the texts has a space before it, as at the beginning of the other."""
    assert [one.text for one in difference("two three", "one two three").changes[0]] == ["one", " two three"]
    assert [one.text for one in difference("one two three", "two three").changes[0]] == ["one", " two three"]


def test_a_change_far_into_long_texts_is_found() -> None:
    """What they begin and end with is passed over, with or without spaces; the whole is compared."""
    for long in ("the same again " * 200_000, "潮水每天涨落" * 100_000):
        found = difference(f"{long} one {long}", f"{long} two {long}")
        assert (found.changed, found.is_whole) == (2, True)
        assert [one.text.strip() for one in found.changes[0] if one.kind != "="] == ["one", "two"]
        assert sum(len(one.text) for one in found.changes[0]) < 200


def test_long_texts_are_compared_so_far() -> None:
    """And it is said; words whose like was not looked at are no difference."""
    words = [f"w{number}" for number in range(3 * WORDS)]
    found = difference(" ".join(words), " ".join(["new", *words[:-1], "end"]))
    assert (found.is_whole, found.changed) == (False, 1)
    letters = difference("a" * (2 * CHARACTERS), "b" + "a" * (2 * CHARACTERS) + "c")
    assert not letters.is_whole


def test_what_is_shown_is_bounded() -> None:
    """So many words, long ones clipped, of one change a sixth; what is left out is counted."""
    first, second = (" ".join(f"{sign}{number}" + "x" * 100 for number in range(500)) for sign in "pq")
    found = difference(first, f"{second} ", 120)
    text = "".join(one.text for change in found.changes for one in change)
    assert (found.changed, found.shown) == (1000, 40)
    assert len(text) < 40 * 85
    assert difference(first, second, 6000).shown == 1000
    assert difference(first, second, 1).shown == 1


@pytest.mark.parametrize("kind", ["stairs", "spaces", "chance", "turned"])
def test_it_takes_bounded_time(kind: str) -> None:
    """Whatever the texts: what is popular in both, nothing but white space, no order at all."""
    chance = random.Random(3)  # noqa: S311  # not for secrets
    first, second = {
        "stairs": tuple(" ".join(f"w{n % 110} {sign}{n}" for n in range(50_000)) for sign in "ab"),
        "spaces": ("a" + " " * 3_000_000 + "b", "c" + "\n" * 3_000_000 + "d"),
        "chance": tuple(" ".join(chance.choices([f"w{n}" for n in range(90)], k=50_000)) for _ in range(2)),
        "turned": tuple(" ".join(f"w{sign * n % 97}" for n in range(50_000)) for sign in (1, -1)),
    }[kind]
    began = time.process_time()
    difference(first, second)
    assert time.process_time() - began < 20
