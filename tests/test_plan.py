"""A plan says what a run will do before it does it, from samples, and writes nothing."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import random
import re
import tarfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from curation import pipeline, pull
from curation import plan as planning
from curation.cli import cli
from curation.errors import InputError, RecipeError, RuleError, UsageError
from curation.plan import plan
from curation.recipe import load
from curation.scaling import targets, worth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from curation.engine import LocalEngine
    from curation.recipe import Recipe
    from curation.run import Run


@pytest.fixture
def recipe(sample: Path, tmp_path: Path) -> Recipe:
    """The sample's recipe with a WORK that is not there yet."""
    return load(sample, work=str(tmp_path / "work"))


def test_a_small_corpus_is_told_exactly(recipe: Recipe, engine: LocalEngine, tmp_path: Path) -> None:
    """Where the sample is everything, documents, errors and what passes the rules are those of the run."""
    answer = plan(recipe)
    assert not (tmp_path / "work").exists()
    judged = pipeline.run(recipe, engine, until="judge").figures["judge"]["sources"]
    for one in answer.sources:
        counts = judged[one.name]
        assert (one.documents, one.errors) == (counts["documents"], counts["errors"])
        assert one.kept == counts["kept"] + counts["duplicates"]
        assert (one.bytes_to_read, one.documents_there) == (one.bytes, 0)
    assert [(group.name, group.asked) for group in answer.groups] == [
        ("web", 7500),
        ("internal", 3000),
        ("textbook", 4500),
    ]
    assert sum(group.available for group in answer.groups) == sum(one.tokens for one in answer.sources)


def test_what_is_there_already_is_not_read_again(recipe: Recipe, engine: LocalEngine) -> None:
    """After a run nothing is left to pull or to measure; with one more source only that is."""
    pipeline.run(recipe, engine, until="measure")
    answer = plan(recipe)
    assert [(one.bytes_to_read, one.documents_there, one.documents) for one in answer.sources] == [
        (0, 42, 42), (0, 10, 10), (0, 15, 15),
    ]  # fmt: skip
    assert answer.parts_there > 3
    assert (answer.seconds["pull"], answer.seconds["measure"]) == (1.0, 1.5)


def lines(folder: Path, name: str, count: int) -> int:
    """A JSONL of so many documents; bytes of their text."""
    chance = random.Random(1)  # noqa: S311  # text that does not compress away
    texts = [" ".join(f"{chance.getrandbits(64):x}" for _ in range(10 + number % 30)) for number in range(count)]
    with gzip.open(folder / name, "wt") if name.endswith(".gz") else (folder / name).open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return sum(map(len, texts))


@pytest.mark.parametrize("name", ["large.jsonl", "large.jsonl.gz"])
def test_a_large_input_is_estimated_from_its_beginning(
    name: str, tiny: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a tenth, from a part of it; the same estimate each time."""
    monkeypatch.setattr(planning, "SECONDS", 60.0)
    monkeypatch.setattr(planning, "SMALL", 100_000)
    text = lines(tmp_path, name, 40_000)
    run = tiny({"s": [{"text": "one"}]}, "", until="pull")
    recipe = load(run.recipe.path, (f'source.s.paths=["{name}"]',), work=str(tmp_path / "other"))
    answer = plan(recipe)
    (source,) = answer.sources
    assert source.sampled < 20_000
    assert source.documents == pytest.approx(40_000, rel=0.1)
    assert source.text_bytes == pytest.approx(text, rel=0.1)
    assert plan(recipe).sources == answer.sources


def test_a_few_long_documents_are_estimated_from_the_first(tiny: Callable[..., Run], tmp_path: Path) -> None:
    """One of four is enough to read, and the estimate comes from where it ends."""
    (tmp_path / "long.jsonl").write_text("".join(json.dumps({"text": f"{n} " * 1_200_000}) + "\n" for n in range(4)))
    run = tiny({"s": [{"text": "one"}]}, "", until="pull")
    (source,) = plan(load(run.recipe.path, ('source.s.paths=["long.jsonl"]',), work=str(tmp_path / "other"))).sources
    assert (source.sampled, source.documents) == (1, pytest.approx(4, abs=1))


def test_a_document_slower_than_the_deadline(
    tiny: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is read and no more; the plan is made all the same."""
    clock = itertools.count(0, 2)
    monkeypatch.setattr(planning, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    lines(tmp_path, "large.jsonl", 20_000)
    run = tiny({"s": [{"text": "one"}]}, "", until="pull")
    (source,) = plan(load(run.recipe.path, ('source.s.paths=["large.jsonl"]',), work=str(tmp_path / "other"))).sources
    assert source.sampled == 1
    assert source.documents > 0


@pytest.mark.parametrize("name", ["large.jsonl", "large.jsonl.gz"])
def test_what_is_not_wanted_costs_time_too(
    name: str, tiny: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline holds where a source wants next to nothing, and the estimate knows what was passed over."""
    clock = itertools.count(0, 0.01)
    monkeypatch.setattr(planning, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    read: list[dict[str, Any]] = []
    row = pull._row
    monkeypatch.setattr(pull, "_row", lambda record, *more: read.append(made := row(record, *more)) or made)
    lines(tmp_path, name, 30_000)
    run = tiny({"s": [{"text": "one"}]}, "", until="pull")
    overrides = (f'source.s.paths=["{name}"]', "source.s.where=\"text like '%000%'\"")
    (source,) = plan(load(run.recipe.path, overrides, work=str(tmp_path / "other"))).sources
    assert 4_000 < len(read) < 6_000
    looked_at = read[: -pull.LOOKED_AT]  # the last are read to see whether there are more
    assert source.sampled == sum("000" in made["text"] for made in looked_at) > 0
    assert source.documents == pytest.approx(source.sampled / len(looked_at) * 30_000, rel=0.1)


def test_an_archive_of_files_is_one_input(tmp_path: Path) -> None:
    """Of many archives of pages a few are read, not as many as of single pages."""
    for number in range(30):
        with tarfile.open(tmp_path / f"{number:02d}.tar", "w") as archive:
            for page in range(2):
                data = f"# Page {page} of {number}\n\nwords of it\n".encode()
                entry = tarfile.TarInfo(f"{page}.md")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    (tmp_path / "recipe.toml").write_text('name = "t"\n[[source]]\nname = "s"\nkind = "markdown"\npaths = ["*.tar"]\n')
    (source,) = plan(load(tmp_path / "recipe.toml")).sources
    assert source.sampled == 2 * planning.FILES
    assert source.documents == 60


def test_a_group_that_will_be_short_is_said(recipe: Recipe, sample: Path, tmp_path: Path) -> None:
    """What it asks against what can be there, repeated as often as it may be."""
    done = CliRunner().invoke(
        cli, ["plan", str(sample), "--work", str(tmp_path / "work"), "--set", "blend.tokens=200000"]
    )
    assert done.exit_code == 0, done.output
    by_name = {group.name: group for group in plan(recipe).groups}
    short = 100_000 - by_name["web"].available
    assert f"short by ~{short:,}" in done.output
    for word in ("~documents", "compare", "WORK", "memory", "copies of other documents"):
        assert word in done.output
    assert not (tmp_path / "work").exists()


def test_how_likely_near_duplicates_are_found_is_told(sample: Path, tmp_path: Path) -> None:
    """For eight similarities and the recipe's own, which is marked; in a warning where it is less than one half."""

    def told(*settings: str) -> tuple[list[str], list[str], str]:
        call = ["plan", str(sample), "--work", str(tmp_path / "work")]
        done = CliRunner().invoke(cli, [*call, *(word for setting in settings for word in ("--set", setting))])
        assert done.exit_code == 0, done.output
        found = re.search(
            r"^near-duplicates of similarity +(.*)\nare found +(.*)\n([^\n]*\n[^\n]*)", done.output, re.MULTILINE
        )
        return (found[1].split(), found[2].split(), found[3]) if found else ([], [], "")

    similarities, likely, below = told()
    assert similarities == ["0.5", "0.6", "0.7", "0.75*", "0.8", "0.85", "0.9", "0.95"]
    assert likely == [
        "24.7%",
        "57.7%",
        "89.5%",
        "97.1%",
        "99.6%",
        "100.0%",
        "100.0%",
        "100.0%",
    ]  # as docs/duplicates.md
    assert "18 bands of 6 rows" in below
    assert "warning" not in below
    similarities, likely, below = told("dedup.similarity=0.77", "dedup.bands=9", "dedup.rows=13")
    assert similarities[3:6] == ["0.75", "0.77*", "0.8"]
    chance = 1 - (1 - 0.77**13) ** 9
    assert likely[4] == f"{chance:.1%}"
    assert f"warning: of near-duplicates that are just 0.77 similar {chance:.1%} are found, less than half" in below
    assert told("dedup.enabled=false") == ([], [], "")


def test_it_is_printed_as_json(sample: Path, tmp_path: Path) -> None:
    """For programs."""
    done = CliRunner().invoke(cli, ["plan", str(sample), "--work", str(tmp_path / "work"), "--workers", "3", "--json"])
    answer: dict[str, Any] = json.loads(done.output)
    assert (answer["workers"], answer["memory_bytes"]) == (3, 3 * 2**31)
    assert set(answer["seconds"]) == {stage.__name__ for stage in pipeline.STAGES}
    dedup = answer["dedup"]
    assert (dedup["bands"], dedup["rows"], dedup["similarity"], dedup["likely"]) == (
        18,
        6,
        0.75,
        round(1 - (1 - 0.75**6) ** 18, 6),
    )
    assert {"similarity": 0.5, "likely": 0.246835} in dedup["curve"]


WRONG = {
    "a wrong rule": (("rules.x=no_such < 1",), RecipeError, "there is no column"),
    "no input": (('source.web.paths=["nowhere.warc"]',), InputError, "there is no such file"),
    "a rule without an answer": (("rules.x=created_at < '2020-01-01'",), RuleError, "rules.x: no answer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_would_stop_the_run_stops_the_plan(case: str, sample: Path, tmp_path: Path) -> None:
    """Before anything was paid for."""
    overrides, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        plan(load(sample, overrides, work=str(tmp_path / "work")))


# tokens for a model


def test_what_models_want_is_the_papers() -> None:
    """Table 3 of Hoffmann et al. 2022: parameters, FLOPs and tokens, to a tenth; from either of the first two."""
    for parameters, flops, tokens in ((1e9, 1.21e20, 20.2e9), (10e9, 1.23e22, 205.1e9), (67e9, 5.76e23, 1.5e12)):
        optimal, over = targets(parameters=parameters)
        assert optimal.tokens == pytest.approx(tokens, rel=0.12)
        assert optimal.flops == pytest.approx(flops, rel=0.12)
        assert over.tokens == 10 * optimal.tokens
        by_compute, _ = targets(flops=flops)
        assert (by_compute.parameters, by_compute.tokens) == pytest.approx((parameters, tokens), rel=0.12)
        for one in (optimal, over, *targets(flops=flops)):
            assert one.flops == pytest.approx(6 * one.parameters * one.tokens, rel=1e-6)


def test_repeated_tokens_lose_their_worth() -> None:
    """One pass is worth itself, four nearly four, and no number of passes more than 1 + 15.39."""
    assert worth(1_000, 500) == 500
    assert worth(1_000, 1_000) == 1_000
    assert 3_600 < worth(1_000, 4_000) < 4_000
    assert 16_000 < worth(1_000, 10**9) <= 16_390
    before = 0.0
    for passes in range(1, 60):
        now = worth(1_000, 1_000 * passes)
        assert now - before <= 1_000 + 1e-6
        assert now > before
        before = now
    assert worth(0, 100) == 0


def test_a_plan_for_a_model(recipe: Recipe) -> None:
    """Each group is asked its share; passes, worth and what can be had at most follow from what is there."""
    answer = plan(recipe, targets=targets(parameters=2_000))
    there = {group.name: group.available for group in answer.groups}
    for model, tokens in zip(answer.models, (40_000, 400_000), strict=True):
        asked = {group.name: group.asked for group in model.groups}
        assert asked == {"web": tokens * 0.5, "internal": tokens * 0.2, "textbook": tokens * 0.3}
        for group in model.groups:
            assert group.available == there[group.name]
            assert group.passes == pytest.approx(group.asked / group.available, abs=1e-3)
            assert group.worth == round(worth(group.available, group.asked))
        assert model.worth == sum(group.worth for group in model.groups)
        most = {"web": 1, "internal": 2, "textbook": 4}
        shares = {"web": 0.5, "internal": 0.2, "textbook": 0.3}
        assert model.feasible == min(int(most[name] * there[name] / shares[name]) for name in most)


def test_a_plan_for_a_model_without_a_budget(tiny: Callable[..., Run]) -> None:
    """Where the recipe has no shares each group is asked as much of the tokens as it has of what there is."""
    groups = "".join(f'[[blend.group]]\nname = "{name}"\nwhere = "source = \'{name}\'"\n' for name in ("a", "b"))
    sources = {
        name: [{"text": "x" * 40, "uri": f"{name}{n}"} for n in range(count)] for name, count in (("a", 3), ("b", 9))
    }
    run = tiny(sources, f"[dedup]\nenabled = false\n[blend]\n{groups}", until="pull")
    model = plan(run.recipe, targets=targets(parameters=20))
    assert [group.asked for group in model.models[0].groups] == [100, 300]


def test_models_on_the_command_line(sample: Path) -> None:
    """Both ways to ask, and what is no number."""
    done = CliRunner().invoke(cli, ["plan", str(sample), "--parameters", "1.3B"], catch_exceptions=False)
    assert (
        "compute-optimal: 1.3 B parameters, 26 B tokens (20 a parameter: Hoffmann et al. 2022), 2e+20 FLOPs"
        in done.output
    )
    assert "more than max_copies, 1; more than the 4 that are nearly as good as new" in done.output
    done = CliRunner().invoke(cli, ["plan", str(sample), "--flops", "1.2e20", "--json"], catch_exceptions=False)
    assert [model["target"]["parameters"] for model in json.loads(done.stdout)["models"]] == [10**9, 316_227_766]
    for words in (["--parameters", "many"], ["--flops", "0"], ["--flops", "-1"], ["--flops", "1", "--parameters", "1"]):
        with pytest.raises(UsageError):
            CliRunner().invoke(cli, ["plan", str(sample), *words], catch_exceptions=False)
    with pytest.raises(UsageError, match="of the last run"):
        CliRunner().invoke(cli, ["plan", str(sample), "--flops", "1", "--rule", "x=true"], catch_exceptions=False)
