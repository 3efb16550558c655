"""Makes `written/plan.parquet` and `written/ledger/` of `written/curriculum.toml` and the texts beside it.

`python -m recipes.sample.write` writes the same bytes each time, until the kinds of text change. The texts were written
for this project by its authors, each as an answer to the request in the plan that has its topic.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from curation import schema
from curation.dataset import save
from curation.endpoint.service import key_of
from curation.recipe import load
from curation.textbooks import curriculum, planning

HERE = Path(__file__).parent / "written"
RECIPE = Path(__file__).parent.parent / "written.toml"
#: Which text answers the request on which topic.
TEXTS = {
    "why ice floats": "ice",
    "levers": "levers",
    "working with rates": "rates",
    "counting words in Python": "words",
    "a lost toy": "toy",
    "the first frost": "frost",
    "a thing moved while somebody was away": "scene",
    "how bread rises": "bread",
}
WHEN = datetime(2026, 11, 26, tzinfo=UTC)


def write() -> None:
    """Write both files."""
    table = planning.plan(curriculum.load(HERE / "curriculum.toml"), planning.Order(documents=len(TEXTS), seed=1))
    save(table, HERE / "plan.parquet")
    service = load(RECIPE).service("writer")
    plan, rows = planning.Plan(table), []
    for slot in plan.slots.values():
        request = plan.request(slot[0])
        text = (HERE / "texts" / f"{TEXTS[request.topic]}.md").read_text(encoding="utf-8").strip()
        messages = [{"role": role, "content": content} for role, content in request.messages]
        body = {**service.parameters, "model": service.model, "messages": messages, "max_tokens": request.max_tokens}
        sent = sum(len(message["content"]) for message in messages) // 4
        cost = service.cost(sent, len(text) // 4)
        rows.append({
            "key": key_of(body), "kind": request.kind, "model": service.model,
            "request": json.dumps(body, ensure_ascii=False),
            "reserved_at": WHEN, "settled_at": WHEN, "answer": text, "finish_reason": "stop", "error": None,
            "requests": 1, "input_tokens": sent, "output_tokens": len(text) // 4, "money": cost.money,
        })  # fmt: skip
    place = HERE / "ledger" / "answers"
    place.mkdir(parents=True, exist_ok=True)
    save(pa.Table.from_pylist(rows, schema.LEDGER), place / "00001.parquet")


if __name__ == "__main__":
    write()
