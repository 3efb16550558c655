"""What a changed rule would do is what a run with it does; nothing is written and no text is read."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from curation import pipeline, whatif
from curation.dataset import Dataset
from curation.errors import RecipeError, RuleError, StorageError
from curation.recipe import load
from curation.whatif import WhatIf, what_if, with_rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from curation.engine import LocalEngine
    from curation.recipe import Recipe
    from curation.run import Run


@pytest.fixture(scope="module")
def ran(sample: Path, engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The sample's recipe, run up to the blend in a folder of its own."""
    recipe = load(sample, work=str(tmp_path_factory.mktemp("ran") / "work"))
    pipeline.run(recipe, engine, until="blend")
    return recipe


CHANGES: dict[str, dict[str, str | None]] = {
    "tightened": {"low_value": "education_score < 3"},
    "loosened": {"low_value": "education_score < 0.5"},
    "its own, off": {"low_value": None},
    "a preset's, off": {"gopher_too_short": None},
    "a preset's, changed": {"gopher_too_short": "word_count < 120"},
    "new": {"short_name": "length(uri) < 60"},
    "several": {"low_value": None, "gopher_too_short": "word_count < 200", "not_english": None},
    "everything": {"all": "true"},
    "the same": {"low_value": "source = 'web' and education_score < 1.5"},
}


@pytest.mark.parametrize("case", CHANGES)
def test_it_says_what_a_run_does(case: str, ran: Recipe, engine: LocalEngine, tmp_path: Path) -> None:
    """Kept documents and tokens by source and group, and hits by rule, as the stages make them with those rules."""
    answer = what_if(ran, CHANGES[case])
    changed = with_rules(ran, CHANGES[case]).model_copy(update={"work": str(tmp_path / "work")})
    before = figures(pipeline.run(ran, engine, until="blend"))
    after = figures(pipeline.run(changed, engine, until="blend"))
    assert {one.name: one.documents_before for one in answer.sources} == before["kept"]
    assert {one.name: one.documents_after for one in answer.sources} == after["kept"]
    for found, when in ((before, "before"), (after, "after")):
        groups = {
            one.name: (getattr(one, f"documents_{when}"), getattr(one, f"tokens_{when}")) for one in answer.groups
        }
        assert groups == found["groups"]
    for change in answer.changes:
        assert change.hits_before == before["rules"].get(change.rule, 0)
        assert change.hits_after == after["rules"].get(change.rule, 0)
        gained, lost = sum(change.newly_hit.values()), sum(change.no_longer_hit.values())
        assert change.hits_after - change.hits_before == gained - lost
    for one in (*answer.sources, *answer.groups):
        assert one.documents_after == one.documents_before - one.lost + one.gained
        assert one.tokens_after == one.tokens_before - one.tokens_lost + one.tokens_gained
    assert bool(answer.changes) == (case != "the same")
    assert sum(move["documents"] for move in answer.moves if move["before"] == "kept") == sum(
        one.lost for one in answer.sources
    )


def figures(run: Run) -> dict[str, Any]:
    """What the stages say, in the form that the answers are compared in."""
    judged, blended = run.figures["judge"], run.figures["blend"]
    return {
        "kept": {name: counts["kept"] for name, counts in judged["sources"].items()},
        "rules": judged["rules"],
        "groups": {
            group["name"]: (group["available_documents"], group["available_tokens"]) for group in blended["groups"]
        },
    }


def test_a_copy_comes_back_when_a_rule_takes_the_better_one(tiny: Callable[..., Run]) -> None:
    """Survivors are chosen again: the loss of one document is the gain of its copy."""
    words = " ".join(f"word{number}" for number in range(40))
    rows = [{"text": words, "uri": "a"}, {"text": f"{words} more", "uri": "b"}]
    run = tiny({"s": rows}, '[dedup]\nprefer = "word_count desc"\nmax_loss = 1.0\n', until="judge")
    (source,) = (answer := what_if(run.recipe, {"long": "word_count > 40"})).sources
    assert (source.documents_before, source.lost, source.gained, source.documents_after) == (1, 1, 1, 1)
    assert {(move["before"], move["after"]): move["documents"] for move in answer.moves} == {
        ("duplicate", "kept"): 1,
        ("kept", "dropped"): 1,
    }


def test_samples_lie_at_the_border(tiny: Callable[..., Run]) -> None:
    """The nearest on both sides; those that the other half of the predicate spares are not at the border."""
    rows = [{"text": "word " * number, "uri": f"{number}", "title": f"of {number} words"} for number in range(1, 30)]
    run = tiny({"s": rows, "other": rows}, "[dedup]\nenabled = false\n", until="judge")
    (change,) = what_if(run.recipe, {"short": "source = 's' and word_count < 10"}, samples=3).changes
    assert [one.values["word_count"] for one in change.hit] == [9, 8, 7]
    assert [one.values["word_count"] for one in change.spared] == [10, 11, 12]
    assert {one.source for one in (*change.hit, *change.spared)} == {"s"}
    assert {(one.before, one.after) for one in change.hit} == {("kept", "dropped")}
    assert change.hit[0].title == "of 9 words"
    (change,) = what_if(run.recipe, {"name": "title like '%{7}%' or title = 'word_count < 5'"}, samples=3).changes
    assert (change.hits_after, len(change.hit), len(change.spared)) == (0, 0, 3)


def test_it_reads_columns_and_writes_nothing(ran: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """No text, and WORK as it was."""
    read = Dataset.read

    def watched(self: Dataset, part: Any, columns: Any = None) -> Any:
        assert "text" not in (columns or self.schema.names)
        return read(self, part, columns)

    def state() -> dict[str, int]:
        from pathlib import Path  # noqa: PLC0415

        return {str(path): path.stat().st_mtime_ns for path in Path(str(ran.work)).rglob("*") if path.is_file()}

    monkeypatch.setattr(Dataset, "read", watched)
    before = state()
    assert what_if(ran, {"low_value": "education_score < 3"}).changes
    assert state() == before


WRONG: dict[str, tuple[dict[str, str | None], type[Exception], str]] = {
    "a column that is not there": ({"x": "educaton_score < 2"}, RecipeError, "rules.x: there is no column"),
    "broken SQL": ({"x": "education_score <"}, RecipeError, "rules.x: .*syntax error"),
    "no predicate": ({"x": "education_score"}, RecipeError, "rules.x: expected a predicate"),
    "chance": ({"x": "random() < 0.5"}, RecipeError, "rules.x: random gives another answer"),
    "a name that cannot be": ({"Bad Name": "true"}, RecipeError, "Bad Name"),
    "a name that is taken": ({"unreadable": "true"}, RecipeError, "the name is taken"),
    "off, but not there": ({"gopher_to_short": None}, RecipeError, 'did you mean "gopher_too_short"'),
    "no answer": ({"x": "created_at < '2020-01-01'"}, RuleError, "rules.x: no answer for document"),
    "cannot be computed": ({"x": "cast(uri as int) > 1"}, RuleError, "rules.x: cannot be computed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rule_is_refused(case: str, ran: Recipe) -> None:
    """As a run refuses it."""
    wanted, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        what_if(ran, wanted)


def test_it_needs_a_run_of_this_recipe(ran: Recipe, sample: Path, tmp_path: Path) -> None:
    """Nothing there yet, or another recipe's verdicts: one message with the command that helps."""
    with pytest.raises(StorageError, match="nothing was run here yet") as caught:
        what_if(load(sample, work=str(tmp_path / "new")), {"x": "true"})
    assert "--until judge" in str(caught.value.remedy)
    edited = load(sample, ("rules.other=word_count < 7",), work=str(ran.work))
    with pytest.raises(StorageError, match="the last run was not of this recipe"):
        what_if(edited, {"x": "true"})


CHANGED = {
    "what a source wants": "s.where=\"text <> ''\"",
    "its fields": 's.fields.title="uri"',
    "its licence": 's.license="MIT"',
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_source_read_in_another_way_needs_a_run(case: str, tiny: Callable[..., Run]) -> None:
    """What is there was made with other settings, though nothing of it is missing."""
    run = tiny({"s": [{"text": "one two", "uri": "a"}]}, until="judge")
    assert what_if(run.recipe, {"x": "true"}).documents == 1
    changed = load(run.recipe.path, (f"source.{CHANGED[case]}",))
    with pytest.raises(StorageError, match=r"not of this recipe and these inputs: source s, .*s\.jsonl"):
        what_if(changed, {"x": "true"})


def test_an_input_that_changed_needs_a_run(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """Whether it is one that was read, or one more; the same bytes written again are no change."""
    run = tiny({"s": [{"text": "one two"}]}, until="judge")
    same = (tmp_path / "s.jsonl").read_bytes()
    (tmp_path / "s.jsonl").write_bytes(same)
    assert what_if(run.recipe, {"x": "true"}).documents == 1
    (tmp_path / "s.jsonl").write_bytes(same + b'{"text": "three"}\n')
    with pytest.raises(StorageError, match="not of this recipe and these inputs"):
        what_if(run.recipe, {"x": "true"})
    (tmp_path / "s.jsonl").write_bytes(same)
    (tmp_path / "t.jsonl").write_bytes(same)
    with pytest.raises(StorageError, match=r"source s, .*t\.jsonl"):
        what_if(load(run.recipe.path, ('source.s.paths=["*.jsonl"]',)), {"x": "true"})


def test_a_large_input_of_unknown_hash_has_changed(tiny: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read to tell."""
    run = tiny({"s": [{"text": "one two"}]}, until="judge")
    run.work.storage.write("inputs.json", b"{}")
    monkeypatch.setattr(whatif, "HASHED", 3)
    with pytest.raises(StorageError, match="not of this recipe and these inputs"):
        what_if(run.recipe, {"x": "true"})


NAMES = ("part", "row", "before", "after", "reasons_before", "reasons_after")


def test_a_signals_column_may_have_any_name(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """One of the user's own, called as something that the answer is made of."""
    columns = ", ".join(f'"{name}": pa.int32()' for name in NAMES)
    (tmp_path / "own_names.py").write_text(
        f"import pyarrow as pa\nVERSION = 1\nCOLUMNS = {{{columns}}}\n"
        "def measure(batch):\n    return {name: pa.array([7] * len(batch.text), pa.int32()) for name in COLUMNS}\n"
    )
    own = '[signals.own]\nmodule = "own_names"\n'
    run = tiny({"s": [{"text": "one two"}, {"text": "one"}]}, own, until="judge")
    where = " and ".join(f"{name} = 7" for name in NAMES)
    (change,) = what_if(run.recipe, {"odd": f"word_count < 2 and {where}"}).changes
    assert change.hits_after == 1
    assert change.hit[0].values == {"word_count": 1, **dict.fromkeys(NAMES, 7)}
    assert (change.hit[0].before, change.hit[0].after) == ("kept", "dropped")


def test_the_answer_is_plain_values(ran: Recipe) -> None:
    """It can be printed as JSON, by `--json`."""
    from dataclasses import asdict  # noqa: PLC0415

    answer = what_if(ran, {"low_value": "education_score < 3"})
    assert isinstance(answer, WhatIf)
    assert json.loads(json.dumps(asdict(answer)))["documents"] == 67
    assert all(re.fullmatch(r"[0-9a-f]{32}", one.id) for change in answer.changes for one in change.hit)
