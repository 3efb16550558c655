"""With `stable = true` what is released stays, and running again publishes nothing."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from test_against import another, matches, verdicts
from test_dedup import rows, words
from test_publish import Killed, killed_at

from curation import pipeline, releases
from curation.engine import LocalEngine
from curation.errors import ReleaseError
from curation.explain import is_judged
from curation.progress import Lines
from curation.recipe import load
from curation.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_servers import S3Server

    from curation.run import Run
    from curation.storage import Storage

STABLE = "dedup.stable=true"
LOSING = "dedup.max_loss=1"
FIRST, SECOND, THIRD = (f'release.version="2026.01.0{number}"' for number in (1, 2, 3))


@pytest.fixture
def to(tmp_path: Path) -> Storage:
    """Where releases go."""
    return open_storage("releases", tmp_path)


def kept(run: Run) -> set[int]:
    """The numbers of the documents that stay."""
    return {number for number, row in verdicts(run).items() if row["keep"]}


def manifest_of(run: Run) -> dict[str, Any]:
    """The manifest of what a run published, or would have."""
    return dict(json.loads((Path(run.figures["publish"]["release"]) / "manifest.json").read_text()))


def documents(count: int, *longer: int) -> dict[str, list[dict[str, str]]]:
    """So many documents, and behind them longer copies of these, which are preferred."""
    random.seed(1)
    texts = [words(60 + number) for number in range(count)]
    return {"s": rows(*texts, *(f"{texts[number]} and more" for number in longer))}


# who stays


def test_a_better_copy_does_not_replace_what_is_released(tiny: Callable[..., Run]) -> None:
    """It goes for the released one; without `stable` the best copy wins anew."""
    tiny(documents(3), "", STABLE, FIRST)
    run = tiny(documents(3, 0, 2), "", STABLE, SECOND)
    assert kept(run) == {0, 1, 2}
    assert {number: match for number, (match, _) in matches(run).items()} == {
        3: verdicts(run)[0]["id"], 4: verdicts(run)[2]["id"],
    }  # fmt: skip
    assert run.figures["judge"]["stable"] == "2026.01.01"
    assert manifest_of(run)["stable"]["version"] == "2026.01.01"
    run = tiny(documents(3, 0, 2), "", THIRD)
    assert kept(run) == {1, 3, 4}
    assert (run.figures["judge"]["stable"], manifest_of(run)["stable"]) == (None, None)


def test_without_a_release_the_best_stay_and_it_is_said(
    tiny: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str], to: Storage
) -> None:
    """In one line; a release that was begun and not finished is none."""
    to.write("tiny/2026.01.01/claim.json", b"{}")
    tiny(documents(3, 1), until="pull")
    with LocalEngine(1, Lines()) as engine:
        run = pipeline.run(load(tmp_path / "recipe.toml", (STABLE, SECOND)), engine)
        assert "stable: there is no release yet" in capsys.readouterr().err
        assert kept(run) == {0, 2, 3}
        pipeline.run(load(tmp_path / "recipe.toml", (STABLE, THIRD, "dedup.similarity=0.8")), engine)
        assert "stable: what release 2026.01.02 holds stays" in capsys.readouterr().err


def test_rules_go_first(tiny: Callable[..., Run]) -> None:
    """A released document that a rule hits now is dropped, and its better copy stays."""
    tiny(documents(3), "", STABLE, FIRST)
    run = tiny(documents(3, 0), '[rules]\nshort = "word_count < 61"\n', STABLE, SECOND)
    assert kept(run) == {1, 2, 3}
    assert verdicts(run)[0]["reasons"] == ["short"]


def test_what_left_the_inputs_is_not_there(tiny: Callable[..., Run]) -> None:
    """A release keeps no document in the next one."""
    tiny(documents(3), "", STABLE, FIRST)
    run = tiny({"s": documents(3, 0)["s"][1:]}, "", STABLE, SECOND)
    assert kept(run) == {1, 2, 3}


def test_released_copies_of_each_other_are_compared_like_all(tiny: Callable[..., Run]) -> None:
    """With a lower `similarity` the better of two released ones stays, and a still better new one goes for it."""
    random.seed(2)
    text = words(100)
    texts = [text, f"{text} {words(25)}"]
    first = tiny({"s": rows(*texts)}, "", STABLE, FIRST, "dedup.similarity=0.95")
    assert kept(first) == {0, 1}
    texts.append(f"{texts[1]} {words(6)}")
    run = tiny({"s": rows(*texts)}, "", STABLE, SECOND, "dedup.similarity=0.7", 'dedup.verify="exact"', LOSING)
    assert kept(run) == {1}
    run = tiny({"s": rows(*texts)}, "", THIRD, "dedup.similarity=0.7", 'dedup.verify="exact"', LOSING)
    assert kept(run) == {2}


def test_what_stands_elsewhere_goes_before_what_is_released(
    tiny: Callable[..., Run], tmp_path: Path, engine: LocalEngine
) -> None:
    """A document of an entry of `against` always stays, so a released copy of it goes."""
    tiny(documents(3), "", STABLE, FIRST)
    another(tmp_path, engine)
    (tmp_path / "releases/other").rename(tmp_path / "elsewhere")
    run = tiny(documents(3, 0), "", STABLE, SECOND, 'dedup.against=["elsewhere"]', LOSING, until="judge")
    assert kept(run) == set()


# running again


def contents(run: Run) -> dict[str, bytes | None]:
    """Every part of the verdicts and of the blend, as it is on disk."""
    storage = run.work.storage
    return {file.path: storage.read(file.path) for folder in ("verdicts", "blend") for file in storage.files(folder)}


def test_running_again_publishes_nothing(tiny: Callable[..., Run], to: Storage, tmp_path: Path) -> None:
    """After a first release, a second, and in a workspace from nothing: the same verdicts, and no further release."""
    for inputs in (documents(6), documents(7, 0, 3), documents(8, 0, 3, 5)):
        run = tiny(inputs, "", STABLE)
        assert run.figures["publish"]["published"]
        assert is_judged(load(tmp_path / "recipe.toml", (STABLE,)))
        for _ in range(2):
            again = tiny(inputs, "", STABLE)
            assert not again.figures["publish"]["published"]
            assert contents(again) == contents(run)
            assert again.figures["publish"]["release"] == run.figures["publish"]["release"]
        shutil.rmtree(tmp_path / "work")
        fresh = tiny(inputs, "", STABLE)
        assert not fresh.figures["publish"]["published"]
        assert contents(fresh) == contents(run)
    assert len(releases.releases(to, "tiny")) == 3
    changed = tiny(documents(8, 0, 3, 5), "", STABLE, "seed=1")
    assert changed.figures["publish"]["published"]
    assert kept(changed) == kept(fresh), "another blend is decided from what the first was decided from"
    assert not tiny(documents(8, 0, 3, 5), "", STABLE, "seed=1").figures["publish"]["published"]


def test_what_was_kept_and_not_released_does_not_change_places(tiny: Callable[..., Run]) -> None:
    """A released document that the next blend leaves out is kept again by the run after that.

    If the second release were decided from itself, the longer copy of the document that it leaves out would be kept.
    """
    random.seed(3)
    texts = [words(60), words(61)]
    first = tiny({"s": rows(*texts)}, "", STABLE)
    assert first.figures["publish"]["documents"] == 2
    texts.append(f"{texts[0]} and more")
    some = '[blend]\nrest = "drop"\n[[blend.group]]\nname = "some"\nwhere = "word_count <> 60"\n'
    second = tiny({"s": rows(*texts)}, some, STABLE)
    assert kept(second) == {0, 1}
    assert second.figures["publish"]["documents"] == 1
    third = tiny({"s": rows(*texts)}, some, STABLE)
    assert kept(third) == {0, 1}
    assert not third.figures["publish"]["published"]


def test_a_killed_publish_is_finished_as_it_was_decided(
    tiny: Callable[..., Run], to: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the manifest or before the pointer moved: the rerun publishes that version and no other."""
    tiny(documents(4), "", STABLE)
    for name in ("manifest.json", "latest.json"):
        with monkeypatch.context() as patch:
            killed_at(patch, name)
            with pytest.raises(Killed):
                tiny(documents(4, 1), "", STABLE, f"seed={len(name)}")
        done = tiny(documents(4, 1), "", STABLE, f"seed={len(name)}")
        assert done.figures["publish"]["published"]
        assert kept(done) == {0, 1, 2, 3}
        assert not tiny(documents(4, 1), "", STABLE, f"seed={len(name)}").figures["publish"]["published"]
    assert len(releases.releases(to, "tiny")) == 3


# what is wrong


def test_a_release_that_is_gone_is_said(tiny: Callable[..., Run], to: Storage) -> None:
    """The latest without its manifest or a shard is an error; of the one before it the latest takes the place."""
    tiny(documents(3), "", STABLE, FIRST)
    tiny(documents(3, 0), "", STABLE, SECOND)
    to.remove("tiny/2026.01.01")
    run = tiny(documents(3, 0), "", STABLE, until="judge")
    assert run.figures["judge"]["stable"] == "2026.01.02", "the one that it was decided from is gone"
    run = tiny(documents(3, 0), "", STABLE, THIRD)
    assert kept(run) == {0, 1, 2}
    assert manifest_of(run)["stable"]["version"] == "2026.01.02"
    shard = Path(to.path("tiny/2026.01.03/data/train-00000.parquet"))
    data = shard.read_bytes()
    shard.unlink()
    with pytest.raises(ReleaseError, match=r"2026\.01\.03: data/train-00000\.parquet is missing") as caught:
        tiny(documents(3, 0, 1), "", STABLE)
    assert "curate releases verify" in (caught.value.remedy or "")
    shard.write_bytes(data[:100])
    with pytest.raises(ReleaseError, match=r"data/train-00000\.parquet cannot be read"):
        tiny(documents(3, 0, 1), "", STABLE)
    shard.write_bytes(data)
    to.remove("tiny/2026.01.03/manifest.json")
    with pytest.raises(ReleaseError, match=r"latest\.json points to it") as caught:
        tiny(documents(3, 0, 1), "", STABLE)
    assert "stable = false" in (caught.value.remedy or "")


def test_only_ids_are_read(tiny: Callable[..., Run], to: Storage) -> None:
    """Of the release's shards, the column `id` alone: its texts may be damaged."""
    tiny(documents(3), "", STABLE, FIRST)
    path = Path(to.path("tiny/2026.01.01/data/train-00000.parquet"))
    data = bytearray(path.read_bytes())
    group = pq.read_metadata(path).row_group(0)
    for column in (group.column(place) for place in range(1, group.num_columns)):
        start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
        data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    assert kept(tiny(documents(3, 0), "", STABLE, SECOND)) == {0, 1, 2}


def test_releases_in_s3_stay_too(moto: S3Server, tiny: Callable[..., Run], tmp_path: Path, monkeypatch: Any) -> None:
    """As in a folder."""
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    place = f'release.to="s3://{moto.bucket}/to"'
    with LocalEngine(1) as engine:
        tiny(documents(3), until="pull")
        pipeline.run(load(tmp_path / "recipe.toml", (STABLE, place, FIRST)), engine)
        tiny(documents(3, 0, 1), until="pull")
        for published in (True, False):
            run = pipeline.run(load(tmp_path / "recipe.toml", (STABLE, place, SECOND)), engine)
            assert kept(run) == {0, 1, 2}
            assert run.figures["publish"]["published"] is published
