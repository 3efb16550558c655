"""What is forgotten leaves the release and every later run, with its copies, and it is told where it still stands."""

from __future__ import annotations

import io
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from curation import pipeline, releases, tombstones
from curation.cli import cli
from curation.derived import held
from curation.endpoint.ledger import Ledger
from curation.endpoint.service import Answer, Cost, key_of
from curation.engine import LocalEngine
from curation.errors import CurationError, ReleaseError, UsageError
from curation.forget import Asked, forget
from curation.recipe import load
from curation.releases import Release, latest, verify
from curation.releases.life import pin
from curation.storage import open_storage
from curation.storage.bucket import Bucket
from curation.storage.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_servers import S3Server

    from curation.run import Run
    from curation.storage import Storage

WORDS = ["harbour", "tide", "quay", "mast", "reef", "lantern", "anchor", "rope", "sail", "gull", "mooring", "swell"]


def text(number: int, changed: str = "") -> str:
    """A text of 120 words that is like no other."""
    words = [f"{WORDS[(number * 7 + place * place) % len(WORDS)]}{number}x{place}" for place in range(120)]
    return " ".join(words) + changed


SECRET = text(99)
ROWS = [{"text": text(number), "uri": f"u{number}"} for number in range(30)]
#: The document, a copy in another source with other white space, one nearly the same, and one written from it.
WEB = [*ROWS, {"text": SECRET, "uri": "https://x.example/secret"}]
MIRROR = [{"text": SECRET.replace(" ", "  ", 1), "uri": "m1"}, {"text": text(99, " and no more words"), "uri": "m2"},
          {"text": text(50), "uri": "m3"}]  # fmt: skip
BOOKS = [{"text": text(70), "uri": "b1", "written_from": ["https://x.example/secret"]}, {"text": text(71), "uri": "b2"}]
SOURCES = {"web": WEB, "mirror": MIRROR, "books": BOOKS}
MORE = "[dedup]\nmax_loss = 1\nprefer = 'word_count'\n[release]\nshard_bytes = 6000\n"
#: Text of the secret that no other document has.
MARK = "99x17"


@pytest.fixture
def to(tmp_path: Path) -> Storage:
    """Where releases go."""
    return open_storage("releases", tmp_path)


def three(tiny: Callable[..., Run]) -> Run:
    """Three releases, all with the secret."""
    for number in (1, 2, 3):
        run = tiny(SOURCES, MORE, f"seed={number}", f"release.version=2026.01.0{number}")
    return run


def rows_of(release: Release) -> list[dict[str, Any]]:
    """The rows of a release."""
    return list(releases.open(release.path))


def ids_of(run: Run, uri: str) -> list[str]:
    """The documents with this URI."""
    found = []
    for part in run.parts:
        table = run.work.documents.read(part, ["id", "uri"])
        found += [row["id"] for row in table.to_pylist() if row["uri"] == uri]
    return found


def recipe(tmp_path: Path, *more: str) -> Any:
    """The recipe as the third release was made."""
    return load(tmp_path / "recipe.toml", ("seed=3", *more))


ASKED = Asked(("https://x.example/secret",), None, "taken down")


# what it reaches


def test_a_document_its_copies_and_what_was_written_from_it_are_gone(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, engine: LocalEngine
) -> None:
    """From the next release, which is whole; everything is named; a rerun brings none of it back."""
    run = three(tiny)
    (secret,), (copy,), (near,), (book,) = (ids_of(run, uri) for uri in ("https://x.example/secret", "m1", "m2", "b1"))
    before = Release(to, "tiny", "2026.01.03")
    released = {row["id"] for row in rows_of(before)}
    assert MARK in " ".join(row["text"] for row in rows_of(before))
    done = forget(recipe(tmp_path), ASKED, engine)

    newest = latest(to, "tiny")
    assert newest is not None
    assert done["published"]["version"] == newest.version != "2026.01.03"
    assert verify(newest) == []
    manifest = newest.manifest() or {}
    found = rows_of(newest)
    assert {row["id"] for row in found} == released - {secret, copy, book}
    assert [row for row in rows_of(before) if row["id"] not in {secret, copy, book}] == found
    gone = len({secret, copy, book} & released)
    assert manifest["forgotten"] == manifest["derived"]["documents"] == gone
    assert manifest["previous"] == manifest["derived"]["from"] == "2026.01.03"
    assert {one["id"]: one["why"] for one in done["documents"]} == {
        secret: "asked", copy: "same text", book: "written from it"}  # fmt: skip
    assert done["near_duplicates_left"] == [near]
    assert [(entry["version"], entry["state"]) for entry in done["releases"]] == [
        (f"2026.01.0{number}", "holds it") for number in (1, 2, 3)]  # fmt: skip
    assert len(done["inputs"]) == 3
    saved = to.read(f"tiny/{done['certificate'].rpartition('tiny/')[2]}") or b""
    assert json.loads(saved)["documents"] == done["documents"]
    for data in (saved, to.read("tiny/forgotten.parquet") or b"", to.read(f"{newest.folder}/report.html") or b""):
        assert b"x.example" not in data
        assert MARK.encode() not in data

    again = pipeline.run(recipe(tmp_path), engine)  # the near-duplicate takes its place, since it may
    after = Release(to, "tiny", again.figures["publish"]["version"])
    assert verify(after) == []
    assert {row["id"] for row in rows_of(after)} & {secret, copy, book} == set()
    assert (after.manifest() or {})["forgotten"] == 3
    counts = again.figures["judge"]["sources"]
    assert counts["web"]["rules"] == {"forgotten": 1}
    assert counts["web"]["documents"] == len(WEB)
    assert pipeline.run(recipe(tmp_path), engine).figures["publish"]["published"] is False
    for part in again.parts:
        for row in again.work.documents.read(part).to_pylist():
            assert (row["error"] == "forgotten") == (row["id"] in {secret, copy, book})
            assert row["error"] is None or (row["text"], row["uri"], row["meta"]) == (None, None, "{}")


def test_near_duplicates_go_where_that_is_asked(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, engine: LocalEngine
) -> None:
    """Those that were verified similar to it; then nothing like it is left."""
    run = three(tiny)
    done = forget(recipe(tmp_path), Asked(ASKED.wanted, None, "x", near=True), engine)
    (near,) = ids_of(run, "m2")
    assert {"id": near, "why": "near-duplicate"} in done["documents"]
    pipeline.run(recipe(tmp_path), engine)
    newest = latest(to, "tiny")
    assert newest is not None
    assert MARK not in " ".join(row["text"] for row in rows_of(newest))


def test_it_stays_away_whatever_it_is_called(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, engine: LocalEngine
) -> None:
    """The same text from another address and source, and another text from the address, in a workspace of its own."""
    three(tiny)
    forget(recipe(tmp_path), ASKED, engine)
    renamed = {"other": [*ROWS, {"text": SECRET, "uri": "elsewhere"}, {"text": text(98), "uri": ASKED.wanted[0]},
                         {"text": text(97), "uri": "b9"}]}  # fmt: skip
    run = tiny(renamed, MORE, f'work="{tmp_path}/second"')
    assert run.figures["judge"]["sources"]["other"]["rules"] == {"forgotten": 2}
    newest = latest(to, "tiny")
    assert newest is not None
    found = {row["uri"] for row in rows_of(newest)}
    assert found == {*(row["uri"] for row in ROWS), "b9"}


def test_the_same_tombstones_give_the_same_bytes(tiny: Callable[..., Run], tmp_path: Path, engine: LocalEngine) -> None:
    """Whether a workspace pulled the document before or after it was forgotten."""
    three(tiny)
    forget(recipe(tmp_path), ASKED, engine)
    old = pipeline.run(recipe(tmp_path), engine)
    new = pipeline.run(recipe(tmp_path, f'work="{tmp_path}/fresh"'), engine, until="blend")
    assert [old.blend_from[part] for part in old.parts] == [new.blend_from[part] for part in new.parts]
    assert old.figures["judge"] == new.figures["judge"]


def test_documents_are_chosen_by_a_condition(
    tiny: Callable[..., Run], tmp_path: Path, engine: LocalEngine, to: Storage
) -> None:
    """Over what the last run measured and decided; one that cannot be asked is one message."""
    three(tiny)
    done = forget(recipe(tmp_path), Asked((), "source = 'web' and uri in ('u1', 'u2')", "x"), engine)
    assert [one["why"] for one in done["documents"]] == ["asked", "asked"]
    newest = latest(to, "tiny")
    assert newest is not None
    assert not {"u1", "u2"} & {row["uri"] for row in rows_of(newest)}
    with pytest.raises(UsageError, match=r"--where: .*no_such"):
        forget(recipe(tmp_path), Asked((), "no_such > 1", "x"), engine)


# purge


def test_purging_removes_earlier_releases_what_was_measured_and_answers(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, engine: LocalEngine
) -> None:
    """And nothing else; a release that does not hold it stays."""
    tiny({"web": ROWS}, MORE, "release.version=2025.01.01")
    run = three(tiny)
    endpoint = '[endpoint.e]\nurl = "http://127.0.0.1:9/v1"\nmodel = "m"\nledger = "ledger"\n'
    (tmp_path / "recipe.toml").write_text((tmp_path / "recipe.toml").read_text() + endpoint)
    keys = []
    for words in (SECRET, text(3)):
        with Ledger(tmp_path / "ledger") as ledger:
            body = {"model": "m", "messages": [{"role": "user", "content": f"Grade this:\n{words}"}]}
            keys.append(key_of(body))
            reserved = ledger.reserve(key_of(body), body, Cost(1, 10, 10, 10))
            ledger.settle(reserved, Answer("good", "stop", Cost(1, 5, 5, 5)))
    done = forget(recipe(tmp_path), Asked(ASKED.wanted, None, "x", purge=True), engine)
    assert done["ledger_answers"] == 1
    with Ledger(tmp_path / "ledger") as ledger:
        assert ledger.spent == Cost(2, 10, 10, 10)
        assert ledger.answer(keys[0]) is None
        assert ledger.answer(keys[1]) is not None
    assert [(entry["version"], entry["state"]) for entry in done["releases"]] == [
        (f"2026.01.0{number}", "removed") for number in (1, 2, 3)]  # fmt: skip
    left = [one for one in releases.releases(to, "tiny") if one.manifest()]
    assert [one.version for one in left] == ["2025.01.01", done["published"]["version"]]
    assert done["workspace"]["state"] == "removed"
    assert done["workspace"]["parts"]
    for path in [*tmp_path.rglob("*.parquet"), *(tmp_path / "ledger").rglob("*")]:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            said = " ".join(str(column.to_pylist()) for column in table.columns)
            assert "m2" in said or MARK not in said, path  # the near-duplicate has most of its words
    assert ids_of(run, "https://x.example/secret") == []  # its address is gone too
    assert pipeline.run(recipe(tmp_path), engine).figures["judge"]["sources"]["web"]["rules"] == {"forgotten": 1}


def test_a_pinned_release_is_not_purged(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, engine: LocalEngine
) -> None:
    """Before anything is done it is said."""
    three(tiny)
    pin(Release(to, "tiny", "2026.01.02"), "model 7")
    with pytest.raises(ReleaseError, match=r"2026\.01\.02: holds it and is pinned: model 7"):
        forget(recipe(tmp_path), Asked(ASKED.wanted, None, "x", purge=True), engine)
    assert to.read("tiny/forgotten.parquet") is None


# what it costs


class Counting(io.FileIO):
    """A file that counts what is read of it."""

    read_bytes = 0

    def readinto(self, buffer: Any) -> int:
        """As many bytes as the buffer holds."""
        count = super().readinto(buffer) or 0
        Counting.read_bytes += count
        return count

    def readall(self) -> bytes:
        """The rest."""
        data = super().readall()
        Counting.read_bytes += len(data)
        return data


def test_it_costs_what_the_shards_concerned_cost(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the others only the footers and three short columns are read, and nothing is written: they are linked."""
    # The same each time: a document may be alone in its shard, which is not written then.
    lot = random.Random(1)  # noqa: S311
    long = [f"{text(number)} {lot.randbytes(500_000 + 40 * number).hex()}" for number in range(40)]
    rows = [{"text": words, "uri": f"u{number}"} for number, words in enumerate(long)]
    tiny({"web": rows}, "[dedup]\nenabled = false\n[release]\nshard_bytes = 2_000_000\n", "release.version=2026.01.01")
    before = Release(to, "tiny", "2026.01.01")
    shards = {shard["path"]: shard for shard in (before.manifest() or {})["shards"]}
    assert len(shards) >= 14
    written: list[int] = []
    real_writing = Folder.writing

    def writing(self: Folder, name: str) -> Any:
        written.append(0) if name.endswith(".parquet") and "/data/" in name else None
        return real_writing(self, name)

    def opened(self: Folder, name: str, *, from_end: bool = False) -> Any:
        path = self.path(name)
        return io.BufferedReader(Counting(path, "rb")) if self.exists(name) else None

    monkeypatch.setattr(Folder, "writing", writing)
    monkeypatch.setattr(Folder, "open", opened)
    Counting.read_bytes = 0
    done = forget(load(tmp_path / "recipe.toml"), Asked(("u7",), None, "x"), engine)
    assert len(done["published"]["shards_rewritten"]) == len(written) == 1
    (touched,) = done["published"]["shards_rewritten"]
    total = sum(shard["bytes"] for shard in shards.values())
    # The shard: its rows' text, and whole, to check, to read and to hash; of each twice the end, 64 KiB, and columns.
    assert Counting.read_bytes < 4 * shards[touched]["bytes"] + 2 * 80_000 * len(shards)
    assert Counting.read_bytes < total / 2
    after = latest(to, "tiny")
    assert after is not None
    for path in shards.keys() - {touched}:
        assert Path(before.path, path).samefile(Path(after.path, path))
    assert verify(after) == verify(before) == []


def test_in_s3_the_server_copies_the_other_shards(
    tiny: Callable[..., Run], moto: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each of them by one request; only those that held it are sent."""
    tiny(SOURCES, MORE, until="pull")
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    place = f"s3://{moto.bucket}/to"
    options = (f'release.to="{place}"', "single_writer=true")
    with LocalEngine(1) as engine:  # whose workers see the environment as it is now
        run = pipeline.run(load(tmp_path / "recipe.toml", (*options, "release.version=2026.01.01")), engine)
        copied: list[str] = []
        sent: list[str] = []
        for action, names in (("copy", copied), ("_send", sent)):
            real: Any = getattr(Bucket, action)

            def noted(self: Bucket, name: str, *rest: Any, real: Any = real, names: list[str] = names) -> Any:
                names.append(name.rpartition("/")[2])
                return real(self, name, *rest)

            monkeypatch.setattr(Bucket, action, noted)
        done = forget(load(tmp_path / "recipe.toml", options), ASKED, engine)
    newest = latest(open_storage(place), "tiny")
    assert newest is not None
    assert verify(newest) == []
    assert done["published"]["version"] == newest.version
    assert not set(ids_of(run, ASKED.wanted[0])) & {row["id"] for row in rows_of(newest)}
    assert [f"data/{name}" for name in sent] == done["published"]["shards_rewritten"]
    assert len(copied) == done["published"]["shards_copied"] > 0
    assert {f"data/{name}" for name in (*copied, *sent)} == {one["path"] for one in (newest.manifest() or {})["shards"]}


# killed, and at the same time


class Killed(BaseException):
    """What ends a command in the middle here."""


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many changes of files are let through yet; the next one is where the process dies."""
    left = [10**9]
    for action in ("create", "swap", "copy", "remove", "write"):
        real: Any = getattr(Folder, action)

        def checked(self: Folder, *args: Any, real: Any = real) -> Any:
            if left[0] <= 0:
                raise Killed
            left[0] -= 1
            return real(self, *args)

        monkeypatch.setattr(Folder, action, checked)
    return left


def test_what_is_killed_is_ended_by_the_same_command(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, engine: LocalEngine, changes: list[int]
) -> None:
    """At each moment: every release that is seen is whole, and in the end nothing of it is left."""
    run = three(tiny)
    (secret,) = ids_of(run, ASKED.wanted[0])
    asked = Asked(ASKED.wanted, None, "x", purge=True)
    tried = 0
    for most in range(1, 200, 2):
        changes[0] = most
        try:
            done = forget(recipe(tmp_path), asked, engine)
        except Killed:
            tried += 1
            changes[0] = 10**9
            for release in releases.releases(to, "tiny"):
                assert release.manifest() is None or verify(release) == []
            assert latest(to, "tiny") is not None
        else:
            break
    assert tried >= 6
    left = [one for one in releases.releases(to, "tiny") if one.manifest()]
    assert [one.version for one in left] == [latest(to, "tiny").version]  # type: ignore[union-attr]
    assert secret not in {row["id"] for row in rows_of(left[0])}
    assert secret in {one["id"] for one in done["documents"]}
    assert len([one for one in releases.releases(to, "tiny") if one.claim() and not one.removal()]) == 1
    changes[0] = 10**9
    again = forget(recipe(tmp_path), asked, engine)
    assert (again["published"], again["releases"], again["tombstones"]) == (None, [], 0)


def test_a_run_that_began_before_does_not_publish_it(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops before its manifest is there."""
    three(tiny)
    stones = tombstones.rows(to, "tiny")
    assert stones == []
    row = {"id": "0" * 32, "uri_sha256": None, "text_sha256": None, "text_bytes": None, "why": "asked", "reason": "x",
           "at": datetime.now(UTC), "request": "r"}  # fmt: skip
    real = pipeline.STAGES[-1]

    def late(run: Run) -> dict[str, Any]:
        tombstones.add(to, "tiny", [row])
        return real(run)

    late.__name__ = "publish"
    monkeypatch.setattr(pipeline, "STAGES", (*pipeline.STAGES[:-1], late))
    with pytest.raises(ReleaseError, match="something was forgotten while this was being made"):
        pipeline.run(recipe(tmp_path, "seed=9", "release.version=2026.02.01"), engine)
    assert Release(to, "tiny", "2026.02.01").manifest() is None
    monkeypatch.undo()
    assert pipeline.run(recipe(tmp_path, "seed=9", "release.version=2026.02.01"), engine).figures["publish"][
        "published"
    ]


# what is said


def curate(*words: str) -> Any:
    """What a command ends with."""
    return CliRunner().invoke(cli, list(words))


def test_the_command_says_what_it_did(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with --dry-run what it would do, and does nothing."""
    three(tiny)
    monkeypatch.chdir(tmp_path)
    said = curate("forget", "recipe.toml", "https://x.example/secret", "--reason", "taken down", "--dry-run")
    assert said.exit_code == 0, said.exception
    for words in ("asked", "same text", "written from it", "2026.01.03 -> (dry run)", "2026.01.01: holds it",
                  "nothing was changed", "near-duplicates that stay"):  # fmt: skip
        assert words in said.output
    assert to.read("tiny/forgotten.parquet") is None
    done = json.loads(curate("forget", "recipe.toml", "https://x.example/secret", "--reason", "x", "--json").output)
    assert done["published"]["rows"] >= 2
    for words, message in (
        (["forget", "recipe.toml", "nowhere", "--reason", "x"], "no document is meant by nowhere"),
        (["forget", "recipe.toml", "--reason", "x"], "nothing is named"),
        (["forget", "recipe.toml", "u1", "--reason", " "], "--reason is empty"),
    ):
        error = curate(*words).exception
        assert isinstance(error, CurationError)
        assert message in str(error)


def test_an_earlier_release_is_asked_by_text_where_its_ids_are_others(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, engine: LocalEngine
) -> None:
    """The input was called otherwise then, so the same text had another id."""
    tiny({"old": WEB}, MORE, "release.version=2025.01.01")
    tiny({"web": WEB}, MORE, "release.version=2026.01.01")
    (document,) = [row["id"] for row in rows_of(Release(to, "tiny", "2026.01.01")) if MARK in row["text"]]
    done = forget(load(tmp_path / "recipe.toml"), Asked((document,), None, "x"), engine)
    assert [entry["version"] for entry in done["releases"]] == ["2025.01.01", "2026.01.01"]
    assert len(done["documents"]) == 2
    gone = held(Release(to, "tiny", "2025.01.01"), tombstones.read(to, "tiny"))
    assert len(gone.rows) == 1
