"""Thousands of requests to a server that misbehaves: the quota or the budget to the last, whatever kills the run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import stamina
from chat_server import serving
from click.testing import CliRunner
from unsteady_writer import LASTING, PASSING, UnsteadyWriter

from curation import pipeline
from curation.cli import cli
from curation.endpoint.ledger import Ledger
from curation.endpoint.service import UNIT, Request
from curation.recipe import load
from curation.storage import journal

ROOT = Path(__file__).parent.parent
#: How often the run is killed: `CURATE_KILLS=20` is the long form, of five thousand requests.
KILLS = int(os.environ.get("CURATE_KILLS", "3"))
IS_LONG = KILLS >= 20
DOCUMENTS, ROUND = (4_000, 200) if IS_LONG else (60, 20)
CONCURRENCY = 16
RECIPE = """
name = "books"
[[source]]
name = "books"
kind = "textbooks"
paths = ["plan.parquet"]
endpoint = "writer"
[endpoint.writer]
url = "{url}"
model = "model-1"
price = {{ input = 1.0, output = 4.0 }}
budget = 1000.0
read_seconds = 3.0
total_seconds = 10.0
concurrency = {concurrency}
stream = {stream}
parameters = {{ temperature = 1.0 }}
"""


@pytest.fixture(autouse=True)
def _at_once():
    """No waits between tries in this process."""
    with stamina.set_testing(True, attempts=8):
        yield


def ready(folder, url, *, stream):
    """A folder with a recipe and its plan."""
    folder.mkdir()
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(url=url, concurrency=CONCURRENCY, stream=str(stream).lower()))
    words = ["textbooks", "plan", recipe, "--curriculum", "stories", "--out", folder / "plan.parquet", "--documents",
             DOCUMENTS, "--round", ROUND]  # fmt: skip
    found = CliRunner().invoke(cli, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return recipe


def pulled(recipe, engine, *overrides):
    """The rows of a run until pull, and its counts."""
    state = pipeline.run(load(recipe, overrides), engine, until="pull")
    rows = [row for part in state.parts for row in state.work.documents.read(part).to_pylist()]
    return rows, state.figures["pull"]["records"]["books"]


def parts(folder):
    """The bytes of every part of the documents."""
    place = folder / "work" / "books" / "documents"
    return {path.relative_to(place): path.read_bytes() for path in sorted(place.rglob("*.parquet"))}


def under_way(folder):
    """The keys of what the killed process had asked and not settled."""
    found = set()
    path = max((folder / "ledger" / "writer").glob("*.jsonl"), default=None)
    for _, line in journal.lines(path) if path else ():
        (found.add if line["is"] == "reserved" else found.discard)(line["key"])
    return found


def test_kills_repeat_what_was_under_way_and_change_nothing(tmp_path, engine):
    """Killed at random moments, it repeats no answered request that was not under way, and ends with the same bytes."""
    writer = UnsteadyWriter(wait=0.02)
    with serving(writer.answer) as server:
        recipe = ready(tmp_path / "a", server.url, stream=True)
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        rows, counts = pulled(recipe, engine)
        assert len(rows) == counts["story"] == DOCUMENTS
        assert all(row["error"] is None for row in rows)
        assert {"story: refused", "story: near_duplicate"} <= set(counts)
        peaceful = len(writer.log)
        assert len(writer.faults) > 5
        assert not IS_LONG or {*PASSING, *LASTING} <= set(writer.faults)
        assert max(Counter(key for key, is_answered in writer.log if is_answered).values()) == 1
        server.seen.clear()
        writer.log.clear()

        command = [sys.executable, "-m", "curation", "run", str(tmp_path / "b" / "recipe.toml"), "--until", "pull",
                   "--workers", "1"]  # fmt: skip
        moments = random.Random(8)  # noqa: S311  # no secret
        allowed, kills = set(), []
        for enough in sorted(moments.sample(range(1, int(0.9 * peaceful)), KILLS)):
            answered = {key for key, is_answered in writer.log if is_answered}
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            begun = len(writer.log)
            while (len(writer.log) < enough or len(writer.log) == begun) and process.poll() is None:
                time.sleep(0.001)
            time.sleep(moments.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            time.sleep(0.1)  # what the dead client had sent is read
            assert {key for key, _ in writer.log[begun:]} & answered <= allowed
            flying = under_way(tmp_path / "b")
            assert len(flying) <= CONCURRENCY
            allowed |= flying
            kills.append(len(flying))
        pulled(tmp_path / "b" / "recipe.toml", engine)
    answers = Counter(key for key, is_answered in writer.log if is_answered)
    repeated = {key for key, count in answers.items() if count > 1}
    assert repeated <= allowed
    assert answers.total() - len(answers) <= sum(kills)
    assert parts(tmp_path / "b") == parts(tmp_path / "a")
    twice = answers.total() - len(answers)
    print(dict(writer.faults))
    print(f"{DOCUMENTS:,} documents, {peaceful:,} requests in peace, {len(writer.log):,} with {KILLS} kills")
    print(f"under way at a kill {kills}, answered twice {twice}")


@pytest.mark.parametrize("limit", ["requests", "money"])
def test_a_budget_is_used_up_to_the_last(tmp_path, engine, limit):
    """By the server's count as many requests as may be, or money until the next request could be too much."""
    writer = UnsteadyWriter()
    with serving(writer.answer) as server:
        recipe = ready(tmp_path / "a", server.url, stream=False)
        most = round(0.6 * DOCUMENTS)
        if limit == "requests":
            rows, counts = pulled(recipe, engine, f"endpoint.writer.budget_requests={most}")
            assert len(writer.log) == most
        else:
            budget = DOCUMENTS * 0.0002
            rows, counts = pulled(recipe, engine, f"endpoint.writer.budget={budget}")
    with Ledger(tmp_path / "a" / "ledger" / "writer") as ledger:
        spent = ledger.spent
    assert spent.requests == len(writer.log)
    if limit == "money":
        service = load(recipe).service("writer")
        largest = service.cost(Request((("user", "x" * 4_000),), 1_000).most_input, 1_000).money
        assert budget * UNIT - largest < spent.money <= budget * UNIT
    *documents, missing = rows
    assert len(documents) == counts["story"] < DOCUMENTS
    assert missing["error"].startswith(f"{DOCUMENTS - len(documents):,} of {DOCUMENTS:,} documents are missing: ")
    print(f"{limit}: {len(writer.log):,} requests, {len(documents):,} documents, {spent.money / UNIT:.6f} spent")
