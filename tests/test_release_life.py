"""What a release has that another has not is told with reasons; old ones go, needed ones stay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from curation import releases
from curation.cli import cli
from curation.errors import CurationError, ReleaseError
from curation.recipe import load
from curation.release_diff import Moved, diff
from curation.releases import Release, verify
from curation.releases.life import half_removed, kept, pin, pins, remove
from curation.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_servers import S3Server

    from curation.run import Run
    from curation.storage import Storage

HEAD = "[dedup]\nenabled = false\n"
ROWS = [{"text": f"Document number {number} says {'something ' * number}", "uri": f"u{number}"} for number in range(8)]


@pytest.fixture
def to(tmp_path: Path) -> Storage:
    """Where releases go."""
    return open_storage("releases", tmp_path)


def curate(*words: str, fails: bool = False) -> str:
    """What a command prints, or the error it ends with."""
    result = CliRunner().invoke(cli, list(words))
    if fails:
        assert isinstance(result.exception, CurationError), result.output
        return f"{result.exception} -> {result.exception.remedy}"
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.output


def three(tiny: Callable[..., Run]) -> None:
    """Three releases of the same rows: all eight, those of at least 7 words, those of at least 9."""
    for number, least in enumerate((0, 7, 9), 1):
        tiny({"s": ROWS}, f'{HEAD}[rules]\nshort = "word_count < {least}"\n', f"release.version=2026.01.0{number}")


# diff


def test_what_came_and_went_is_told_by_source_and_reason(tiny: Callable[..., Run], to: Storage, tmp_path: Path) -> None:
    """Of rules, inputs that changed and are new, and the blend; documents of both are counted, not named."""
    more = {"text": "Seven words stand in this one here.", "uri": "v"}
    tiny({"s": ROWS, "gone": [more]}, HEAD, "release.version=2026.01.01")
    rows = [*ROWS[1:], {"text": "New words stand here and nowhere else.", "uri": "w"}]
    tiny({"s": rows, "new": [{**more, "uri": "x"}]}, f'{HEAD}[rules]\nlong = "word_count > 10"\n', "seed=1",
         "release.version=2026.01.02")  # fmt: skip
    old, new = Release(to, "tiny", "2026.01.01"), Release(to, "tiny", "2026.01.02")
    found = diff(old, new, load(tmp_path / "recipe.toml", ("seed=1",)), samples=2)
    tokens = {row["uri"]: -(-len(row["text"]) // 4) for row in [*ROWS, more, *rows]}
    # Each line's place is in its id: those of what stands behind the removed first line are others.
    by_source = {one.source: one for one in found.sources}
    assert by_source["gone"].lost == Moved(1, tokens["v"])
    assert by_source["new"].gained == Moved(1, tokens["v"])
    assert by_source["s"].lost.documents == len(ROWS) - by_source["s"].both
    assert found.why_lost is not None
    assert found.why_gained is not None
    assert sum(moved.documents for moved in found.why_lost.values()) == len(ROWS) + 1 - by_source["s"].both
    assert found.why_gained["of a new input"] == Moved(1, tokens["v"])
    assert found.changes["rules"] == [("long", None, "word_count > 10")]
    assert len(found.lost) == len(found.gained) == 2
    assert all(set(one) == {"id", "source", "uri", "tokens", "text"} for one in found.lost)


def test_a_rule_and_a_budget_are_reasons(tiny: Callable[..., Run], to: Storage, tmp_path: Path) -> None:
    """A document that a rule takes, one that the blend does not take any more, and copies that it takes instead."""
    blend = '[blend]\ntokens = {}\n[[blend.group]]\nname = "all"\nwhere = "true"\nshare = 1.0\nmax_copies = 2\n'
    tiny({"s": ROWS}, HEAD, "release.version=2026.01.01")
    tiny({"s": ROWS}, f'{HEAD}[rules]\nshort = "word_count < 6"\n{blend.format(60)}', "release.version=2026.01.02")
    recipe = load(tmp_path / "recipe.toml")
    old, new = Release(to, "tiny", "2026.01.01"), Release(to, "tiny", "2026.01.02")
    found = diff(old, new, recipe)
    assert found.why_lost is not None
    tokens = [-(-len(row["text"]) // 4) for row in ROWS]
    assert found.why_lost["rule short"] == Moved(2, sum(tokens[:2]))
    left = (new.manifest() or {})["documents"]
    assert found.why_lost["not taken by the blend"].documents == 6 - left
    (source,) = found.sources
    assert (source.both, source.gained, source.repeated_tokens) == (left, Moved(0, 0), 0)
    back = diff(new, old, recipe)
    assert back.why_gained is back.why_lost is None
    assert "was not the one that made 2026.01.01" in (back.why_not or "")
    assert back.sources[0].gained == source.lost
    tiny({"s": ROWS}, f"{HEAD}{blend.format(100_000)}", "release.version=2026.01.03")
    twice = diff(old, Release(to, "tiny", "2026.01.03"), recipe)
    assert twice.sources[0].repeated_tokens == sum(tokens)


def test_the_command_compares_the_latest_with_the_one_before(
    tiny: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or two that are named, of a recipe or a folder."""
    three(tiny)
    monkeypatch.chdir(tmp_path)
    printed = curate("releases", "diff", "recipe.toml")
    assert printed.startswith("tiny/2026.01.02 -> tiny/2026.01.03\n")
    assert "rule short" in printed
    assert "rule short: word_count < 7 -> word_count < 9" in printed
    assert "lost: " in printed
    record = json.loads(curate("releases", "diff", "releases", "tiny@2026.01.01", "tiny/2026.01.03", "--json"))
    assert (record["old"], record["sources"][0]["lost"]["documents"]) == ("tiny/2026.01.01", 5)
    assert "name the recipe" in record["why_not"]


# pin and prune


def test_old_releases_go_and_needed_ones_stay(
    tiny: Callable[..., Run], to: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing without --yes; then all but the newest, those pinned and unfinished ones; versions stay taken."""
    three(tiny)
    to.write("tiny/2025.01.01/claim.json", b"{}")
    monkeypatch.chdir(tmp_path)
    assert "2026.01.01: pinned: model 7" in curate("releases", "pin", "recipe.toml", "2026.01.01", "--why", "model 7")
    said = curate("releases", "prune", "recipe.toml", "--keep", "1")
    assert [line.split()[0] for line in said.splitlines() if line.endswith("would go")] == ["tiny/2026.01.02"]
    assert "nothing was removed" in said
    assert len(to.files("tiny/2026.01.02")) == 5
    curate("releases", "prune", "recipe.toml", "--keep", "1", "--yes")
    assert [file.path for file in to.files("tiny/2026.01.02")] == [
        "tiny/2026.01.02/claim.json", "tiny/2026.01.02/removed.json",
    ]  # fmt: skip
    for version in ("2026.01.01", "2026.01.03"):
        assert verify(Release(to, "tiny", version)) == []
    states = {row["release"]: row["state"] for row in json.loads(curate("releases", "list", "recipe.toml", "--json"))}
    assert states == {"tiny/2025.01.01": "unfinished", "tiny/2026.01.01": "pinned", "tiny/2026.01.02": "removed",
                      "tiny/2026.01.03": "latest"}  # fmt: skip
    assert "was removed on" in curate("releases", "verify", "recipe.toml", "2026.01.02", fails=True)
    with pytest.raises(ReleaseError, match="was removed on"):
        releases.open("releases/tiny@2026.01.02")
    with pytest.raises(ReleaseError, match="this version is taken"):  # though it is made from the very same
        tiny({"s": ROWS}, f'{HEAD}[rules]\nshort = "word_count < 7"\n', "release.version=2026.01.02")
    curate("releases", "pin", "recipe.toml", "2026.01.01", "--remove")
    assert [entry.reasons for entry in kept(to, "tiny", 1)] == [("latest", "one of the newest 1"), ()]
    for words in (["pin", "recipe.toml"], ["pin", "recipe.toml", "--why", "x", "--remove"]):
        assert "say why" in curate("releases", *words, fails=True)


def test_what_the_latest_was_decided_by_stays(tiny: Callable[..., Run], to: Storage) -> None:
    """With dedup.stable running again asks for it: else the same recipe would publish anew."""
    stable = "[dedup]\nstable = true\nprefer = 'word_count desc'\n"
    for number in (1, 2, 3):
        tiny({"s": ROWS[: 3 + number]}, stable, f"release.version=2026.01.0{number}")
    reasons = {entry.release.version: entry.reasons for entry in kept(to, "tiny", 1)}
    assert reasons["2026.01.02"] == ("latest was decided by it: dedup.stable",)
    assert reasons["2026.01.01"] == ()


def test_the_latest_and_pinned_ones_cannot_be_removed(tiny: Callable[..., Run], to: Storage) -> None:
    """Whoever asks."""
    three(tiny)
    first, last = Release(to, "tiny", "2026.01.01"), Release(to, "tiny", "2026.01.03")
    pin(first, "model 7")
    assert pins(to, "tiny")["2026.01.01"]["why"] == "model 7"
    for release, words in ((first, "is pinned: model 7"), (last, "is the latest")):
        with pytest.raises(ReleaseError, match=words):
            remove(release, "x")
        assert verify(release) == []


def test_a_removal_that_is_killed_leaves_no_release_and_is_ended(
    tiny: Callable[..., Run], to: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its steps: what a reader can still see is whole, or said to be removed."""
    three(tiny)
    release = Release(to, "tiny", "2026.01.01")
    steps = 0

    class Killed(BaseException):
        pass

    for action in ("create", "remove"):
        real: Any = getattr(type(to), action)

        def stopped(self: Any, *args: Any, real: Any = real) -> Any:
            nonlocal steps
            if steps == 0:
                raise Killed
            steps -= 1
            return real(self, *args)

        monkeypatch.setattr(type(to), action, stopped)
    for most in range(4):
        steps = most
        with pytest.raises(Killed):
            remove(release, "x")
        if release.removal() is None:
            assert verify(release) == []
        else:
            with pytest.raises(ReleaseError, match="was removed"):
                releases.find(to, "tiny/2026.01.01")
    steps = 100
    for one in half_removed(to, "tiny"):
        remove(one, "x")
    assert len(to.files("tiny/2026.01.01")) == 2
    assert half_removed(to, "tiny") == []


def test_releases_in_s3_are_pinned_pruned_and_compared(
    tiny: Callable[..., Run], moto: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a folder."""
    three(tiny)
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    place, here = open_storage(f"s3://{moto.bucket}/to"), open_storage("releases", tmp_path)
    for file in here.files():
        place.write(file.path, here.read(file.path) or b"")
    assert "tiny/2026.01.02 -> tiny/2026.01.03" in curate("releases", "diff", str(place))
    curate("releases", "pin", str(place), "tiny/2026.01.01", "--why", "x")
    curate("releases", "prune", str(place), "--keep", "1", "--yes")
    assert [(entry.release.version) for entry in kept(place, "tiny", 1)] == ["2026.01.03", "2026.01.01"]
