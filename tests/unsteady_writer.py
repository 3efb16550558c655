"""A model that writes what a plan asks for on a server that fails as real ones do, and knows what it did; not a test.

What it writes depends on the request alone, what goes wrong first on how often it was asked: so whoever asks long
enough gets the same from it.
"""

from __future__ import annotations

import re
from collections import Counter

from chat_server import Reply, refused
from story_writer import lots, sentences, written

from curation.endpoint.service import key_of

#: Of requests, the share that meets each fault the first time, the second and the third.
PASSING = {"429": 0.10, "500": 0.05, "hang": 0.01, "cut": 0.03, "not JSON": 0.02}
#: And the share that gets such an answer whenever it is asked.
LASTING = {"empty": 0.02, "refusal": 0.03, "duplicate": 0.03, "5 MB": 0.0005}
DUPLICATE = sentences(lots("duplicate"), 16)


class UnsteadyWriter:
    """`answer` is what a `ChatServer` answers; `log` has for each request its key, and whether that got its answer."""

    def __init__(self, wait=0.0):
        self.wait = wait
        self.log = []
        self.faults = Counter()

    def answer(self, body, count):
        """What comes of a request that was made `count` times before."""
        fault = drawn(PASSING, lots(body, count)) if count < 3 else None
        self.log.append((key_of(body), fault is None))
        self.faults[fault or drawn(LASTING, lots(body, "lasting"))] += 1
        if fault == "429":
            return refused(429, "slow down", Retry_After="0")
        if fault == "500":
            return refused(500, "oh")
        if fault == "hang":
            return Reply(hangs=True)
        if fault == "not JSON":
            return Reply(body=b"{'choices': not JSON", wait=self.wait)
        reply = self.lasting(body)
        reply.wait = self.wait * lots(body, "wait").random()
        reply.cut_at = 60 if fault == "cut" else None
        return reply

    def lasting(self, body):
        """What a request is answered in the end."""
        kind = drawn(LASTING, lots(body, "lasting"))
        if kind == "empty":
            return Reply("", usage=(50, 0))
        if kind == "refusal":
            return Reply(refusal="I cannot write that.", usage=(50, 8))
        if kind == "5 MB":
            return Reply("x" * 5_000_000, usage=(50, 100))
        text = written(body)
        if kind == "duplicate":
            words = re.search(r'the noun "(\w+)", the verb "(\w+)" and the adjective "(\w+)"', str(body["messages"]))
            text = f"The {words[3]} {words[1]} wants to {words[2]}. {DUPLICATE}"
        return Reply(text, usage=(50, len(text) // 5))


def drawn(shares, lot):
    """One of these, by its share; None for what is left."""
    at = lot.random()
    for name, share in shares.items():
        at -= share
        if at < 0:
            return name
    return None
