"""Makes `written/plan.parquet` and `written/ledger/` of `written/curriculum.toml` and the texts beside it.

`python -m recipes.sample.write` writes the same bytes each time, until the kinds of text change. The texts were written
for this project by its authors, each as an answer to the request in the plan that has its topic.
"""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from curation import pipeline, schema
from curation.coverage import coverage
from curation.dataset import save
from curation.endpoint.service import key_of
from curation.engine import LocalEngine
from curation.recipe import load
from curation.textbooks import curriculum, planning

if TYPE_CHECKING:
    from curation.coverage import Coverage
    from curation.recipe import Recipe

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
    "how soap cleans": "soap",
}
WHEN = datetime(2026, 11, 26, tzinfo=UTC)


def write() -> None:
    """Write both files."""
    recipe, topics = load(RECIPE), curriculum.load(HERE / "curriculum.toml")
    found = _of_the_web(recipe, topics)
    there = {name: topic.documents for name, topic in found.topics.items()}
    table = planning.plan(topics, planning.Order(documents=len(TEXTS), seed=1, there=there, seeds=found.seeds))
    save(table, HERE / "plan.parquet")
    service = recipe.service("writer")
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


def _of_the_web(recipe: Recipe, topics: curriculum.Curriculum) -> Coverage:
    """What the sample's web pages have of the topics."""
    with tempfile.TemporaryDirectory() as folder, LocalEngine(1) as engine:
        alone = recipe.model_copy(update={"source": recipe.source[:1], "work": f"{folder}/work"})
        pipeline.run(alone, engine, until="judge")
        found = coverage(alone, topics)
    if found is None:
        raise RuntimeError("the run left nothing")
    return found


if __name__ == "__main__":
    write()
