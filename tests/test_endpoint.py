"""Asking an endpoint: what is tried again, what it may cost, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import stamina
from chat_server import Reply, refused, serving
from hypothesis import given
from hypothesis import strategies as st

from curation.endpoint.client import Endpoint, UnansweredError, key_from, retry_after
from curation.endpoint.ledger import Ledger
from curation.endpoint.limit import Limit
from curation.endpoint.reply import UnreadableError, read
from curation.endpoint.servers import Place
from curation.endpoint.service import UNIT, Answer, Cost, Request, Server, Service, key_of
from curation.endpoint.syncing import Syncing
from curation.errors import BudgetError, EndpointError, StorageError, UsageError
from curation.storage import journal

ROOT = Path(__file__).parent.parent
KEY = "sk-test-4f9c1e77a0b2d35886"


@pytest.fixture(autouse=True)
def _no_waits():
    """Tries follow each other at once, eight at most."""
    with stamina.set_testing(True, attempts=8):
        yield


def question(number, max_tokens=50):
    """A request that is not another's."""
    return Request((("system", "Answer."), ("user", f"question {number}")), max_tokens)


def service_of(server, **settings):
    """The server as a service with short times."""
    times = {"connect_seconds": 2.0, "read_seconds": 0.4, "total_seconds": 1.5}
    return Service("test", (Server(server.url),), "model-1", **{**times, **settings})


def ask(service, folder, requests, key=KEY):
    """The answers to requests asked at once, exceptions among them, and the ledger's cost after."""

    async def all_of_them(ledger):
        async with Endpoint(service, ledger, [key] * len(service.servers)) as endpoint:
            return await asyncio.gather(*map(endpoint.ask, requests), return_exceptions=True), endpoint

    with Ledger(folder) as ledger:
        answers, endpoint = asyncio.run(all_of_them(ledger))
        return answers, ledger.spent, endpoint


def rows_of(folder):
    """The rows of a ledger that is closed."""
    with Ledger(folder) as ledger:
        return [row for part in sorted(ledger._parts.parts()) for row in ledger._parts.read(part).to_pylist()]


# Answers


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_comes_with_its_cost(tmp_path, stream):
    """The text comes whole, the reason why it ended, and the tokens that the server counted, at the recipe's price."""
    with serving(lambda body, count: Reply(f"Grüße zu {body['messages'][1]['content']}", usage=(120, 30))) as server:
        service = service_of(server, input_price=0.1, output_price=0.4, budget=1.0, stream=stream)
        (answer,), spent, _ = ask(service, tmp_path / "ledger", [question(1)])
    money = 120 * 100_000 + 30 * 400_000
    assert answer == Answer("Grüße zu question 1", "stop", Cost(1, 120, 30, money))
    assert spent == answer.cost
    assert money / UNIT == pytest.approx(120 * 0.1e-6 + 30 * 0.4e-6)
    assert server.bodies[0]["max_tokens"] == 50
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["Content-Type"] == "application/json"


def test_nothing_is_asked_twice(tmp_path):
    """What the ledger has is not asked again, in one run or the next, whatever the server is called."""
    with serving(lambda body, count: Reply(f"{body['messages'][1]['content']}, {count}")) as server:
        service = service_of(server)
        first, spent, _ = ask(service, tmp_path / "ledger", [question(1), question(1), question(2)])
        elsewhere = replace(service, servers=(Server(server.url.replace("127.0.0.1", "localhost")),))
        second, again, _ = ask(elsewhere, tmp_path / "ledger", [question(2), question(1), question(3)])
        other, _, _ = ask(replace(service, model="model-2"), tmp_path / "ledger", [question(1)])
    assert [answer.text for answer in first] == ["question 1, 0", "question 1, 0", "question 2, 0"]
    assert [answer.text for answer in second] == ["question 2, 0", "question 1, 0", "question 3, 0"]
    assert other[0].text == "question 1, 0"
    assert len(server.bodies) == 4
    assert (spent.requests, again.requests) == (2, 3)


def test_the_hash_of_a_request_holds_all_that_decides_its_answer():
    """Model, messages, length and sampling change the key; the server, and how answers come, do not."""
    service = Service("a", (Server("http://one/v1"),), "m")
    key = key_of(service.body(question(1)))
    assert key == key_of(
        replace(service, servers=(Server("http://two/v1", model="org/m"),), name="b", stream=False).body(question(1))
    )
    others = [
        replace(service, model="n").body(question(1)), service.body(question(2)), service.body(question(1, 51)),
        replace(service, parameters={"temperature": 0}).body(question(1)),
    ]  # fmt: skip
    assert len({key, *map(key_of, others)}) == 5


# Failures

RIGHT = Reply("right")
PASSING = {
    "429": refused(429, "slow down", Retry_After="0"),
    "500": refused(500),
    "503": refused(503, Retry_After=format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)),
    "408": refused(408),
    "silence": Reply("late", wait=0.7),
    "cut stream": Reply("a long answer that is cut in the middle of it", cut_at=200),
    "no end": Reply("an answer", finish_reason=None),
    "not JSON": Reply(body=b"<html>Bad gateway</html>"),
    "half of JSON": Reply(body=b'{"choices": [{"message"'),
    "an error as an answer": Reply(body=b'{"error": {"message": "overloaded"}}'),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again(tmp_path, fault, stream):
    """A failure that may pass is tried again, and what it may have cost stays spent."""
    with serving(lambda body, count: PASSING[fault] if count == 0 else RIGHT) as server:
        service = service_of(server, stream=stream, output_price=1.0, budget=1.0)
        (answer,), spent, endpoint = ask(service, tmp_path / "ledger", [question(1)])
    assert answer.text == "right"
    assert len(server.bodies) == 2
    assert endpoint.failures.total() == 1
    tried, came = rows_of(tmp_path / "ledger")
    assert tried["error"]
    assert tried["answer"] is None
    assert tried["output_tokens"] == (0 if fault == "429" else 50)
    assert came["answer"] == "right"
    assert spent.requests == 2


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_never_ends_has_an_end(tmp_path, stream):
    """A byte now and then is given up after `total_seconds`, silence after `read_seconds`."""
    faults = [Reply("never", drips=0.1), Reply(hangs=True)]
    with serving(lambda body, count: faults[count] if count < 2 else RIGHT) as server:
        began = time.monotonic()
        service = service_of(server, stream=stream, read_seconds=0.5, total_seconds=1.0)
        (answer,), spent, endpoint = ask(service, tmp_path / "ledger", [question(1)])
    assert answer.text == "right"
    assert 1.4 < time.monotonic() - began < 10
    assert endpoint.failures == {"timeout": 2}
    whole, nothing, _ = rows_of(tmp_path / "ledger")
    assert whole["error"] == "no whole answer within 1 s"
    assert nothing["error"] == "nothing came for 0.5 s"
    assert spent.output_tokens == 50 + 50 + 20


def test_what_does_not_pass_is_not_tried_again(tmp_path):
    """A request that is wrong is asked once, and fails alone."""
    with serving(
        lambda body, count: refused(400, "too long") if "1" in body["messages"][1]["content"] else RIGHT
    ) as server:
        (failed, answer), spent, _ = ask(service_of(server), tmp_path / "ledger", [question(1), question(2)])
    assert isinstance(failed, UnansweredError)
    assert "too long" in failed.message
    assert failed.kind == "HTTP 400"
    assert answer.text == "right"
    assert len(server.bodies) == 2
    assert spent.output_tokens == 20


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_what_no_request_can_get_past_is_said_as_such(tmp_path, status):
    """A wrong key, address or model is an error of the endpoint, after one try; no redirect gets the key."""
    with serving(lambda body, count: refused(status, "no", Location="http://127.0.0.1:1/")) as server:
        (failed,), _, _ = ask(service_of(server), tmp_path / "ledger", [question(1)])
    assert type(failed) is EndpointError
    assert f"HTTP {status}" in failed.message
    assert len(server.bodies) == 1


def test_tries_end(tmp_path):
    """A request that fails as often as is allowed gets no answer."""
    with serving(lambda body, count: refused(500)) as server:
        (failed,), spent, _ = ask(service_of(server), tmp_path / "ledger", [question(1)])
    assert isinstance(failed, UnansweredError)
    assert len(server.bodies) == spent.requests == 8


def test_an_answer_that_is_too_large_is_refused(tmp_path):
    """Five megabytes are not read to their end, and not asked for again."""
    with serving(lambda body, count: Reply("x" * 5_000_000)) as server:
        service = service_of(server, read_seconds=10.0, total_seconds=20.0)
        (failed,), spent, _ = ask(service, tmp_path / "ledger", [question(1)])
        whole, _, _ = ask(service, tmp_path / "ledger", [question(1, 4_000)])
    assert failed.kind == "too large"
    assert spent.output_tokens == 50
    assert len(whole[0].text) == 5_000_000  # 4,000 tokens are 8 MB at most


def test_no_server_costs_nothing(tmp_path):
    """Where nobody listens nothing went out, and nothing is spent."""
    with serving(lambda body, count: RIGHT) as server:
        service = service_of(server)
    (failed,), spent, _ = ask(service, tmp_path / "ledger", [question(1)])
    assert failed.kind == "no connection"
    assert spent == Cost()


def test_a_refusal_is_an_answer(tmp_path):
    """A model that will not answer says why, and that is kept."""
    with serving(lambda body, count: Reply(refusal="I cannot help with that.")) as server:
        (answer,), _, _ = ask(service_of(server), tmp_path / "ledger", [question(1)])
    assert (answer.text, answer.finish_reason) == ("I cannot help with that.", "refusal")


def test_a_pause_that_the_server_asks_for_is_kept(tmp_path):
    """After a 429 with Retry-After nobody sends before its time."""
    with serving(lambda body, count: refused(429, Retry_After="1") if len(server.bodies) == 1 else RIGHT) as server:
        answers, _, _ = ask(service_of(server, concurrency=1), tmp_path / "ledger", [question(1), question(2)])
    assert [answer.text for answer in answers] == ["right", "right"]
    assert server.times[1] - server.times[0] >= 0.99


def test_a_server_that_asks_for_an_hour_is_closed(tmp_path):
    """A wait that nobody would sit through is told instead."""
    with serving(lambda body, count: refused(429, Retry_After="3600")) as server:
        (failed,), _, _ = ask(service_of(server), tmp_path / "ledger", [question(1)])
    assert type(failed) is EndpointError
    assert "3,600 s" in failed.message


@given(st.text())
def test_any_header_is_read(header):
    """Whatever stands in Retry-After is no wait at all or one that has an end."""
    assert (retry_after(header, datetime.now(UTC)) or 0) >= 0


@given(st.binary(), st.sampled_from(["application/json", "text/event-stream; charset=utf-8", ""]))
def test_any_body_is_read_or_refused(data, kind):
    """Whatever comes back is an answer or unreadable, and nothing else."""
    try:
        read(data, kind)
    except UnreadableError:
        return


@pytest.mark.parametrize("data", [
    b"[]", b"1", b"null", b'{"choices": []}', b'{"choices": [1]}', b'{"choices": [{}]}',
    b'{"choices": [{"message": {"content": "a"}}]}', b'{"choices": [{"message": {}, "finish_reason": 3}]}',
    b"[" * 100_000,
])  # fmt: skip
def test_what_is_not_the_protocol_is_unreadable(data):
    """JSON of another shape is no answer, nor is one nested without end."""
    for kind, body in (("application/json", data), ("text/event-stream", b"data: " + data + b"\n\ndata: [DONE]\n\n")):
        with pytest.raises(UnreadableError):
            read(body, kind)


def test_a_stream_says_how_it_ended():
    """One that was cut is told from one that ended without a reason."""
    begun = b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": null}]}\n\n'
    with pytest.raises(UnreadableError, match="the stream was cut"):
        read(begun, "text/event-stream")
    with pytest.raises(UnreadableError, match="without a finish_reason"):
        read(begun + b"data: [DONE]\n\n", "text/event-stream")
    ended = b'data: {"choices": [{"delta": {}, "finish_reason": "length"}]}\n\n'
    assert read(begun + ended, "text/event-stream").finish_reason == "length"


def test_a_sign_that_comes_in_two_pieces_is_whole():
    """Half a surrogate pair in one event and half in the next are one sign; a half alone is none."""
    chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in ("a\ud83d", "\ude00b\ud83d")]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    data = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    assert read(data, "text/event-stream").text == "a😀b\ufffd"


def test_events_that_are_not_objects_are_unreadable():
    """Also where all of them together would be JSON."""
    whole = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
    for line in (b'{"choices"', b"", b"1", b'"a"', b'{"a": 1}, {"b": 2}'):
        with pytest.raises(UnreadableError):
            read(b"data: " + line + b"\n\n" + whole, "text/event-stream")


# How many at once


@pytest.fixture
def clock(monkeypatch):
    """A clock in a list, which a test moves."""
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_limit_rises_while_all_is_well_and_falls_when_it_is_not(clock):
    """It doubles in a round of answers, halves at the first refusal, once for all that were under way."""
    limit, began = Limit(64), clock[0]
    assert limit.allowed == 4
    clock[0] += 1  # each answer takes a second
    for _ in range(4):
        limit.answered(began)
    assert limit.allowed == 8
    limit.lower(began)
    limit.lower(began)  # was under way when it was lowered
    assert limit.allowed == 4
    for _ in range(10):
        limit.lower(clock[0])
    assert limit.allowed == 1
    limit.restart()
    clock[0] += 1
    limit.answered(clock[0] - 1)
    assert limit.allowed == 2


@pytest.mark.parametrize("capacity", [3, 20, 100])
def test_the_limit_stays_near_what_the_server_bears(clock, capacity):
    """Of a server that refuses what is too much, three quarters are had, and few requests are refused."""
    limit, had, refused_, rounds = Limit(512), 0, 0, 200
    for number in range(rounds):
        began, sent = clock[0], int(limit.allowed)
        clock[0] += 1
        for place in range(sent):
            if place < capacity:
                limit.answered(began)
            else:
                limit.lower(began)
        if number >= 20:
            had += min(sent, capacity)
            refused_ += max(0, sent - capacity)
    assert had >= 0.75 * capacity * (rounds - 20)
    assert refused_ <= had / 50 + (rounds - 20) / 2


def test_the_limit_falls_when_answers_take_longer_and_longer(clock):
    """A server that queues what it cannot do at once is sent less, though it refuses nothing."""
    limit = Limit(64)
    for _ in range(200):
        clock[0] += 1
        limit.answered(clock[0] - 1)
    high = limit.allowed
    assert high > 15
    for _ in range(100):
        clock[0] += 10
        limit.answered(clock[0] - 10)
    assert limit.allowed < high


@pytest.mark.parametrize("capacity", [8, 64, 300])
def test_the_limit_stops_where_more_at_once_is_no_more_in_all(clock, capacity):
    """A server that slows down beyond what it can do gets that and not many times it, though times differ at random."""
    limit, lot = Limit(1_024), random.Random(1)  # noqa: S311  # no secret
    seen = []
    for _ in range(1_000):
        began, sent = clock[0], int(limit.allowed)
        slower = max(1.0, sent / capacity)
        for seconds in sorted(slower * lot.expovariate(1.0) for _ in range(sent)):
            clock[0] = began + seconds
            limit.answered(began)
        seen.append(sent)
    late = seen[100:]
    assert sum(min(sent, capacity) for sent in late) >= 0.7 * capacity * len(late)
    assert sum(late) <= 4 * capacity * len(late)


@pytest.mark.parametrize("slower", [2.0, 8.0])
def test_a_server_that_became_slower_for_good_is_used_as_before(clock, slower):
    """What takes long whatever is sent is no reason to send less."""
    limit = Limit(64)
    seen = []
    for number in range(300):
        began, seconds = clock[0], 1.0 if number < 100 else slower
        clock[0] += seconds
        seen.append(int(limit.allowed))
        for _ in range(seen[-1]):
            limit.answered(began)
    assert sum(seen[-100:]) > 50 * 100


def test_a_server_that_bears_three_is_found_out(tmp_path):
    """Where more than three at once are refused, all requests are answered in the end, most without a refusal."""

    def answer(body, count):
        with server.lock:
            crowded = server.at_once > 3
        return refused(429) if crowded else Reply("right", wait=0.01)

    with serving(answer) as server:
        answers, _, endpoint = ask(service_of(server), tmp_path / "ledger", [question(number) for number in range(80)])
    assert {getattr(answer, "text", answer) for answer in answers} == {"right"}
    assert endpoint.failures["HTTP 429"] < 60
    assert server.most_at_once <= 8


# Budgets


def test_a_budget_of_requests_is_used_up_to_the_last_and_not_one_more(tmp_path):
    """By the server's own count, failures included, exactly as many requests go out as are allowed."""
    with serving(lambda body, count: refused(500) if count == 0 and len(server.bodies) % 3 == 0 else RIGHT) as server:
        service = service_of(server, budget_requests=25)
        answers, spent, _ = ask(service, tmp_path / "ledger", [question(number) for number in range(40)])
        assert len(server.bodies) == spent.requests == 25
        assert any(isinstance(answer, BudgetError) for answer in answers)
        more, _, _ = ask(service, tmp_path / "ledger", [question(100)])
        assert isinstance(more[0], BudgetError)
        assert "25 of 25" in more[0].message
        assert len(server.bodies) == 25


@pytest.mark.parametrize("limit", ["money", "tokens"])
def test_a_budget_of_money_or_tokens_is_never_exceeded(tmp_path, limit):
    """What the server counted stays below the budget, and what is left would not have held another request."""
    with serving(lambda body, count: Reply("right", usage=(100, 50))) as server:
        service = service_of(server, input_price=1.0, output_price=2.0, budget_tokens=10**9)
        cost = service.cost(question(1).most_input, 50)
        most = (0.004 * UNIT, cost.money) if limit == "money" else (5_000, cost.tokens)
        service = replace(service, budget=0.004) if limit == "money" else replace(service, budget_tokens=5_000)
        answers, spent, _ = ask(service, tmp_path / "ledger", [question(number) for number in range(60)])
    counted = service.cost(*server.tokens)
    assert (spent.input_tokens, spent.output_tokens, spent.money) == (*server.tokens, counted.money)
    used = spent.money if limit == "money" else spent.tokens
    assert most[0] - most[1] < used <= most[0]
    assert 5 < sum(isinstance(answer, Answer) for answer in answers) < 60


def test_a_reservation_counts_as_spent_until_its_answer_is_there(tmp_path):
    """Two requests of which the budget holds one at a time go out one after another."""
    with serving(lambda body, count: Reply("right", usage=(1, 1), wait=0.1)) as server:
        tokens = question(1).most_input + 50
        service = service_of(server, budget_tokens=tokens + 2)
        answers, _, _ = ask(service, tmp_path / "ledger", [question(1), question(2)])
    assert [answer.text for answer in answers] == ["right", "right"]
    assert server.most_at_once == 1


def test_a_server_that_counts_more_than_can_be_stops_the_work(tmp_path):
    """Where an answer is longer than was asked for no budget can be kept, and the work ends with the answer kept."""
    with serving(lambda body, count: Reply("right", usage=(10, 51))) as server:
        (failed,), spent, _ = ask(service_of(server, budget_tokens=10**6), tmp_path / "ledger", [question(1)])
    assert isinstance(failed, BudgetError)
    assert "51" in failed.message
    assert spent.output_tokens == 51


def test_what_the_server_does_not_count_costs_the_most_it_can(tmp_path):
    """Without `usage` an answer costs what was reserved."""
    with serving(lambda body, count: Reply("right", usage=None)) as server:
        _, spent, _ = ask(service_of(server), tmp_path / "ledger", [question(1)])
    assert spent == Cost(1, question(1).most_input, 50, 0)


@given(st.text(), st.text())
def test_a_prompt_has_fewer_tokens_than_are_reserved(system, text):
    """There is a byte or more to a token of any tokenizer that reads bytes."""
    request = Request((("system", system), ("user", text)), 1)
    assert request.most_input > len(system.encode()) + len(text.encode())


# The ledger


def test_a_line_that_was_not_finished_is_left_out(tmp_path):
    """Half a last line is nothing; half a line in the middle is damage that is told with its place."""
    path = tmp_path / "00001.jsonl"
    written = journal.Journal.begin(path)
    places = [written.write({"number": number}) for number in range(3)]
    written.close()
    assert list(journal.lines(path)) == [(place, {"number": number}) for number, place in enumerate(places)]
    assert journal.line_at(path, places[1]) == {"number": 1}
    whole = path.read_bytes()
    for size in range(places[2], len(whole)):
        path.write_bytes(whole[:size])
        assert len(list(journal.lines(path))) == 2
    path.write_bytes(whole.replace(b'{"number":1', b'{"num'))
    with pytest.raises(StorageError, match=f"damaged at byte {places[1]}"):
        list(journal.lines(path))


def test_a_full_disk_ends_the_journal(tmp_path, monkeypatch):
    """After a line that could not be written none is, since none behind it could be read."""
    written = journal.Journal.begin(tmp_path / "00001.jsonl")
    written.write({"number": 1})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StorageError, match="No space left"):
            written.sync()
    with pytest.raises(StorageError, match="earlier line"):
        written.write({"number": 3})


def test_what_was_reserved_and_has_no_answer_counts_as_spent(tmp_path):
    """A ledger whose process was killed between reserving and settling holds the worst case, and no answer."""
    folder, body = tmp_path / "ledger", {"model": "m", "messages": []}
    most = Cost(1, 100, 50, 7)
    with Ledger(folder) as ledger:
        other = {**body, "seed": 1}
        ledger.settle(ledger.reserve(key_of(other), other, most), Answer("one", "stop", Cost(1, 10, 5, 1)))
        ledger.reserve(key_of(body), body, most)
        copy = {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
    closed = ledger.spent
    assert closed == Cost(2, 110, 55, 8)
    with Ledger(folder) as ledger:
        assert ledger.spent == closed
        assert ledger.answer(key_of(body)) is None
        assert ledger.answer(key_of({**body, "seed": 1})).text == "one"
    assert list(folder.glob("*.jsonl")) == []
    for name, data in copy.items():  # a kill after the part was written and before its journal was removed
        (folder / name).write_bytes(data)
    with Ledger(folder) as ledger:
        assert ledger.spent == closed
    assert list(folder.glob("*.jsonl")) == []


def test_a_ledger_reads_its_answers_from_any_row_group(tmp_path, monkeypatch):
    """Each of many answers in many row groups and parts is the one that was given."""
    monkeypatch.setattr("curation.endpoint.ledger.ROW_GROUP_BYTES", 300)
    bodies = [{"model": "m", "messages": [], "seed": number} for number in range(60)]
    for start in (0, 30):
        with Ledger(tmp_path / "ledger") as ledger:
            for body in bodies[start : start + 30]:
                reserved = ledger.reserve(key_of(body), body, Cost(1))
                ledger.settle(reserved, Answer(f"answer {body['seed']}", "stop", Cost(1)))
    with Ledger(tmp_path / "ledger") as ledger:
        parts = ledger._parts
        assert [len(parts.groups(part, "key")) > 3 for part in parts.parts()] == [True, True]
        order = [*range(60), *range(59, -1, -7)]
        assert [ledger.answer(key_of(bodies[number])).text for number in order] == [f"answer {n}" for n in order]


def test_two_processes_do_not_share_a_ledger(tmp_path):
    """Whoever comes second is told, and nothing is written."""
    with Ledger(tmp_path / "ledger"), pytest.raises(StorageError, match="another process"), Ledger(tmp_path / "ledger"):
        pass


_KILLED = """
import asyncio, sys
from pathlib import Path
from curation.endpoint.client import Endpoint
from curation.endpoint.ledger import Ledger
from curation.endpoint.service import Request, Server, Service

async def main(ledger):
    service = Service("test", (Server(sys.argv[1]),), "m", budget_requests=int(sys.argv[3]), concurrency=4)
    async with Endpoint(service, ledger, [None]) as endpoint:
        requests = [Request((("user", f"question {number}"),), 50) for number in range(40)]
        answers = await asyncio.gather(*map(endpoint.ask, requests))
        print("\\n".join(answer.text for answer in answers))

with Ledger(Path(sys.argv[2])) as ledger:
    asyncio.run(main(ledger))
    print(ledger.spent.requests)
"""


def test_a_kill_repeats_no_more_than_was_under_way(tmp_path):
    """By the server's own count, kills and new starts repeat the requests that were under way, and no other."""
    with serving(lambda body, count: Reply(body["messages"][0]["content"].upper(), wait=0.03)) as server:
        command = [sys.executable, "-c", _KILLED, server.url, str(tmp_path / "ledger"), "60"]
        kills = 0
        for enough in (1, 9, 22, 33):
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            while len(server.bodies) < enough and process.poll() is None:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
            process.stdout.close()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert kills == 4
    *texts, requests = done.stdout.splitlines()
    assert texts == [f"QUESTION {number}" for number in range(40)]
    asked = [json.dumps(body, sort_keys=True) for body in server.bodies]
    assert len(set(asked)) == 40
    assert len(asked) <= 40 + 4 * 4
    assert len(asked) <= int(requests) <= 40 + 4 * 4


def test_kills_do_not_stretch_a_budget(tmp_path):
    """Killed again and again, no more requests reach the server in all than the budget allows."""
    with serving(lambda body, count: Reply("right", wait=0.03)) as server:
        command = [sys.executable, "-c", _KILLED, server.url, str(tmp_path / "ledger"), "25"]
        for enough in (3, 12, 20):
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            while len(server.bodies) < enough and process.poll() is None:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "BudgetError" in done.stderr
    assert "25 of 25 went out" in done.stderr
    assert 25 - 3 * 4 <= len(server.bodies) <= 25


# The key


def test_a_key_comes_from_the_variable_that_is_named(monkeypatch):
    """The recipe's variable, else one named after the endpoint; one that is named and not set is told."""
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    monkeypatch.setenv("CURATE_ENDPOINT_A_B_KEY", "other-key")
    assert key_from("MY_KEY", "writer") == KEY
    assert key_from(None, "a-b") == "other-key"
    assert key_from(None, "c") is None
    with pytest.raises(UsageError, match="NO_SUCH_KEY is not set"):
        key_from("NO_SUCH_KEY", "writer")
    monkeypatch.setenv("MY_KEY", "two\nlines-of-secret")
    with pytest.raises(UsageError) as found:
        key_from("MY_KEY", "writer")
    assert "secret" not in found.value.message


@pytest.mark.parametrize("stream", [True, False])
def test_a_key_that_the_server_repeats_is_kept_nowhere(tmp_path, stream):
    """Answers and errors that hold the key lose it before they are shown or written."""

    def answer(body, count):
        if "1" in body["messages"][1]["content"]:
            return refused(400, "x" * 180 + f" Incorrect API key provided: {KEY}")
        return Reply(body=b"y" * 190 + KEY.encode()) if count == 0 else Reply(f"your key is {KEY}")

    with serving(answer) as server:
        answers, _, _ = ask(service_of(server, stream=stream), tmp_path / "ledger", [question(1), question(2)])
    assert "Incorrect API key" in answers[0].message
    assert KEY not in repr(answers)
    assert answers[1].text == "your key is [key]"
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY[:12].encode() not in path.read_bytes()
    rows = rows_of(tmp_path / "ledger")
    assert len(rows) == 3
    assert KEY[:12] not in repr(rows)


# Several servers


def servers_of(*servers, **settings):
    """A service of several servers, with these weights."""
    times = {"connect_seconds": 2.0, "read_seconds": 0.4, "total_seconds": 1.5, "concurrency": 4}
    listed = tuple(Server(server.url, weight) for server, weight in servers)
    return Service("test", listed, "model-1", **{**times, **settings})


def saying(name, wait=0.0):
    """A server that answers with its name."""
    return serving(lambda body, count: Reply(name, wait=wait))


def test_servers_share_the_work_by_their_weights(tmp_path):
    """One with three times the weight gets three times the requests where both are as fast."""
    with saying("a", 0.02) as a, saying("b", 0.02) as b:
        service = servers_of((a, 3.0), (b, 1.0))
        answers, _, _ = ask(service, tmp_path / "ledger", [question(number) for number in range(80)])
    assert {answer.text for answer in answers} == {"a", "b"}
    assert 2.0 < len(a.bodies) / len(b.bodies) < 4.5


def test_a_server_without_room_is_not_waited_for(tmp_path):
    """Where one refuses all, or asks for a pause, the other does the work."""
    with serving(lambda body, count: refused(429, Retry_After="30")) as a, saying("b") as b:
        began = time.monotonic()
        service = servers_of((a, 5.0), (b, 1.0))
        answers, _, _ = ask(service, tmp_path / "ledger", [question(number) for number in range(40)])
    assert {answer.text for answer in answers} == {"b"}
    assert time.monotonic() - began < 20
    assert len(a.bodies) <= 4


@pytest.mark.parametrize("fault", ["nobody", "HTTP 500", "silence", "closed for an hour"])
def test_a_server_that_is_down_is_left_out(tmp_path, fault):
    """It gets a few requests, and no request fails for it."""
    bad = {"HTTP 500": refused(500), "silence": Reply(hangs=True),
           "closed for an hour": refused(503, Retry_After="3600")}  # fmt: skip
    with serving(lambda body, count: bad[fault]) as a, saying("b", 0.01) as b:
        service = servers_of((a, 1.0), (b, 1.0))
        if fault == "nobody":
            service = replace(service, servers=(Server("http://127.0.0.1:1/v1"), service.servers[1]))
        answers, _, endpoint = ask(service, tmp_path / "ledger", [question(number) for number in range(60)])
    assert {getattr(answer, "text", answer) for answer in answers} == {"b"}
    assert len(b.bodies) == 60
    assert endpoint.failures.total() <= 12
    assert len(a.bodies) <= 12


def test_a_server_that_was_down_is_tried_again(tmp_path, monkeypatch):
    """After a while one request goes there; when that is answered it is used as before."""
    monkeypatch.setattr("curation.endpoint.servers.FIRST_ABSENCE", 0.2)
    is_down = {"is": True}

    def sometimes(body, count):
        is_down["is"] = len(a.bodies) <= 6
        return refused(500) if is_down["is"] else Reply("a", wait=0.01)

    with serving(sometimes) as a, saying("b", 0.01) as b:
        requests = [question(number) for number in range(250)]
        answers, _, _ = ask(servers_of((a, 1.0), (b, 1.0)), tmp_path / "ledger", requests)
    texts = [answer.text for answer in answers]
    assert set(texts) == {"a", "b"}
    assert texts.count("a") >= 5


def test_where_all_are_down_that_is_said(tmp_path):
    """The last failure is told, after all tries."""
    nobody = (Server("http://127.0.0.1:1/v1"), Server("http://127.0.0.1:2/v1"))
    service = Service("test", nobody, "m", connect_seconds=1.0)
    (failed,), spent, _ = ask(service, tmp_path / "ledger", [question(1)])
    assert isinstance(failed, UnansweredError)
    assert "no connection" in failed.message
    assert spent == Cost()


def test_each_server_gets_its_own_key_and_name_of_the_model(tmp_path):
    """No server sees the key of another, and the ledger knows one model."""
    with saying("a") as a, saying("b") as b:
        service = servers_of((a, 1.0), (b, 1.0), concurrency=2)
        service = replace(service, servers=(service.servers[0], replace(service.servers[1], model="org/model")))
        keys = [f"{KEY}-a", f"{KEY}-b"]

        async def all_of_them(ledger):
            async with Endpoint(service, ledger, keys) as endpoint:
                return await asyncio.gather(*(endpoint.ask(question(number)) for number in range(20)))

        with Ledger(tmp_path / "ledger") as ledger:
            asyncio.run(all_of_them(ledger))
    assert {headers["Authorization"] for headers in a.headers} == {f"Bearer {KEY}-a"}
    assert {headers["Authorization"] for headers in b.headers} == {f"Bearer {KEY}-b"}
    assert {body["model"] for body in a.bodies} == {"model-1"}
    assert {body["model"] for body in b.bodies} == {"org/model"}
    assert {row["model"] for row in rows_of(tmp_path / "ledger")} == {"model-1"}


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    """As other programs do it, and not where no_proxy says so."""
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    for url, proxy in (("https://outside.example/v1", "http://proxy:3128"), ("https://inside.example/v1", None),
                       ("http://outside.example/v1", None)):  # fmt: skip
        assert Place(Server(url), None, 1).proxy == proxy


# Money by kind


def test_a_kind_has_a_budget_of_its_own(tmp_path):
    """It is never exceeded, also by a later run, and other kinds go on."""
    with serving(lambda body, count: Reply("right", usage=(100, 50))) as server:
        service = service_of(server, input_price=1.0, output_price=2.0, budget=1.0, budgets={"story": 0.004})
        requests = [replace(question(number), kind=("story", "scene")[number % 2]) for number in range(60)]
        answers, _, _ = ask(service, tmp_path / "ledger", requests)
        again, _, _ = ask(service, tmp_path / "ledger", [replace(question(100), kind="story")])
        with Ledger(tmp_path / "ledger") as ledger:
            spent = dict(ledger.spent_on)
    stories, scenes = answers[::2], answers[1::2]
    assert all(isinstance(answer, Answer) for answer in scenes)
    assert any(isinstance(answer, BudgetError) for answer in stories)
    assert isinstance(again[0], BudgetError)
    assert "the budget of story is used up: " in again[0].message
    most = service.cost(question(1).most_input, 50).money
    assert 0.004 * UNIT - most < spent["story"].money <= 0.004 * UNIT
    assert spent["story"].requests == sum(isinstance(answer, Answer) for answer in stories)
    assert spent["scene"] == service.cost(3_000, 1_500) + Cost(29, 0, 0, 0)


# Waiting for the disk together


def test_those_who_wait_share_the_next_sync():
    """Nobody's wait ends with a sync that began before it came, and many wait for one."""
    begun, ended = [], []

    def sync():
        begun.append(time.monotonic())
        time.sleep(0.05)
        ended.append(time.monotonic())

    async def all_of_them():
        on_disk = Syncing(sync)

        async def wait(seconds):
            await asyncio.sleep(seconds)
            came = time.monotonic()
            await on_disk()
            assert any(came <= start for start, end in zip(begun, ended, strict=False) if end <= time.monotonic())

        await asyncio.gather(*(wait(0.001 * number) for number in range(100)))

    asyncio.run(all_of_them())
    assert 2 <= len(begun) <= 12


def test_a_disk_that_fails_is_told_to_all_who_wait():
    """Each gets the error; none goes on as if its line were there."""

    def sync():
        raise StorageError("no space")

    async def all_of_them():
        on_disk = Syncing(sync)
        return await asyncio.gather(*(on_disk() for _ in range(5)), return_exceptions=True)

    assert [type(found) for found in asyncio.run(all_of_them())] == [StorageError] * 5
