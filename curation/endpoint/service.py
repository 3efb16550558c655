"""What an endpoint is, what is asked of it and what it answers: plain records."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

#: Money is counted in whole millionths of a millionth of the currency, so that sums are exact in any order: a price
#: of 0.1 for a million tokens is 100,000 of them a token.
UNIT = 10**12
#: Tokens of a prompt that its texts do not show: what a chat template puts around each message, and before the first.
_AROUND_MESSAGE, _AROUND_PROMPT = 64, 256


@dataclass(frozen=True, slots=True)
class Cost:
    """What something costs: requests, tokens, and money in parts of `UNIT`."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.money + other.money,
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.requests - other.requests,
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.money - other.money,
        )

    @property
    def tokens(self) -> int:
        """Of prompts and answers together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Server:
    """One OpenAI-compatible server: its address, and its share of the requests against the others' `weight`.

    `model` is its own name of the endpoint's model, None where it is the same; `variable` holds its key.
    """

    url: str
    weight: float = 1.0
    model: str | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A model on one server or several, with what may be spent there.

    Prices are for a million tokens. `budget` (money), `budgets` (money for requests of a kind), `budget_requests` and
    `budget_tokens` hold for all that the ledger knows of, not for one run; None: no limit.
    """

    name: str
    servers: tuple[Server, ...]
    model: str
    input_price: float = 0.0
    output_price: float = 0.0
    budget: float | None = None
    budget_requests: int | None = None
    budget_tokens: int | None = None
    budgets: dict[str, float] = field(default_factory=dict)
    concurrency: int = 16
    attempts: int = 8
    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    total_seconds: float = 300.0
    stream: bool = True
    tokens_parameter: str = "max_tokens"
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def urls(self) -> str:
        """The addresses of the servers, to be shown."""
        return ", ".join(server.url for server in self.servers)

    def cost(self, input_tokens: int, output_tokens: int) -> Cost:
        """What one request costs with so many tokens of prompt and answer."""
        money = input_tokens * round(self.input_price * UNIT / 10**6)
        money += output_tokens * round(self.output_price * UNIT / 10**6)
        return Cost(1, input_tokens, output_tokens, money)

    def body(self, request: Request) -> dict[str, Any]:
        """What decides the answer: all that is sent, but how it is to come back."""
        messages = [{"role": role, "content": content} for role, content in request.messages]
        limit = {self.tokens_parameter: request.max_tokens}
        return {**self.parameters, "model": self.model, "messages": messages, **limit}


@dataclass(frozen=True, slots=True)
class Request:
    """Messages, each a role and a text, and how many tokens the answer may have.

    `kind` says what is asked for, like story: no server is told, but money can be kept apart by it.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    kind: str | None = None

    @property
    def most_input(self) -> int:
        """More tokens than the prompt can have: a token of any tokenizer that reads bytes holds one at least."""
        sizes = sum(len(content.encode()) + _AROUND_MESSAGE for _, content in self.messages)
        return sizes + _AROUND_PROMPT


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the text, why it ended (stop, length, refusal, content_filter …) and what it cost."""

    text: str
    finish_reason: str
    cost: Cost


def key_of(body: dict[str, Any]) -> str:
    """The hash of a whole request: 64 hex digits that do not depend on the server or on the order of the keys.

    >>> key_of({"model": "m", "seed": 1}) == key_of({"seed": 1, "model": "m"})
    True
    """
    data = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(data.encode()).hexdigest()
