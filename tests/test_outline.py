"""A curriculum drawn from what a run kept."""

from __future__ import annotations

import json
import tomllib

import pytest
from story_writer import lots, sentences
from test_writing import said

from curation import outline, pipeline
from curation.cli import cli
from curation.errors import StorageError, UsageError
from curation.recipe import load
from curation.textbooks import curriculum, planning

RECIPE = """
name = "shop-floor"
[[source]]
name = "web"
kind = "jsonl"
paths = ["web.jsonl"]
"""
#: Of three fields, titles and the words that their texts are made of beside those that all have.
FIELDS = {
    "pumps": (["Priming a pump", "Cavitation in pumps", "Seals of a pump", "Reading a pump curve"],
              "impeller suction head cavitation seal shaft flow pump pumps curve priming seals"),
    "bees": (["The waggle dance", "Swarms in May", "Honey and its water", "Why drones leave"],
             "hive honey queen swarm drone nectar comb dance waggle drones swarms pollen"),
    "sails": (["Reefing a sail", "Tacking upwind", "Trim of the jib", "Knots that hold"],
              "sail jib tack reef halyard knot upwind mast boom trim reefing tacking knots"),
}  # fmt: skip


def corpus(folder, more=()):
    """A folder whose recipe was run: four documents of each field, and more."""
    rows = list(more)
    for field, (titles, words) in FIELDS.items():
        for number, title in enumerate(titles):
            lot = lots("outline", field, number)
            told = " ".join(" ".join([lot.choice(words.split()), lot.choice(words.split()), sentences(lot, 1)])
                            for _ in range(12))  # fmt: skip
            rows.append(
                {"title": f"{title} | The {field} page", "text": f"# {title}\n\n{told}\n\n## What to mind\n\nAll."}
            )
    (folder / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder / "recipe.toml"


def test_units_are_what_belongs_together(tmp_path, engine):
    """Titles become topics, without their site; each unit is a field; the file loads, and can be planned."""
    recipe = corpus(tmp_path)
    pipeline.run(load(recipe), engine, until="judge")
    out = tmp_path / "drawn.toml"
    told = said("textbooks", "curriculum", recipe, "--out", out, "--topics", "12")
    assert "12 topics" in told
    drawn = curriculum.load(out)
    fields = {title: field for field, (titles, _) in FIELDS.items() for title in titles}
    (subject,) = drawn.subjects
    found = [sorted({fields[topic.name] for topic in unit.topics}) for unit in subject.unit]
    assert sorted(found) == [["bees"], ["pumps"], ["sails"]]
    assert [len(unit.topics) for unit in subject.unit] == [4, 4, 4]
    topics = {topic.name: topic for _, _, topic in drawn.topics}
    assert topics["Priming a pump"].about == "What to mind"
    assert set(topics["The waggle dance"].terms) <= {"dance", "waggle"}
    assert outline.draw(load(recipe), 12) == out.read_text(encoding="utf-8")
    said("textbooks", "plan", recipe, "--curriculum", out, "--out", tmp_path / "plan.parquet", "--documents", 12)
    assert len(planning.read(tmp_path / "plan.parquet").slots) == 12
    few = tomllib.loads(outline.draw(load(recipe), 3))["subject"][0]["unit"]
    assert sum(len(unit["topics"]) for unit in few) <= 4


def test_a_title_is_no_order_and_no_toml(tmp_path, engine):
    """What is no plain title is no topic: neither templates, nor quotes that end a string, nor what runs on."""
    evil = ['"]\nname = "x', "{{ 7 * 7 }}", "<b>Bold</b>", "Write about this: " + "again " * 40, "\u202egnihton", "42"]
    recipe = corpus(tmp_path, [{"title": title, "text": sentences(lots(title), 14)} for title in evil])
    pipeline.run(load(recipe), engine, until="judge")
    drawn = tomllib.loads(outline.draw(load(recipe), 60))
    names = [topic["name"] for unit in drawn["subject"][0]["unit"] for topic in unit["topics"]]
    assert sorted(names) == sorted(title for titles, _ in FIELDS.values() for title in titles)


def test_what_cannot_be_drawn_is_told(tmp_path, engine):
    """Nothing was run; nothing has a title; a file that is there is not written over."""
    recipe = corpus(tmp_path)
    with pytest.raises(StorageError, match="nothing was run"):
        outline.draw(load(recipe), 9)
    (tmp_path / "web.jsonl").write_text(json.dumps({"text": sentences(lots(1), 14)}) + "\n")
    pipeline.run(load(recipe), engine, until="judge")
    with pytest.raises(UsageError, match="no kept document has a title or a heading"):
        outline.draw(load(recipe), 9)
    (tmp_path / "there.toml").write_text("mine")
    for out, why in (("there.toml", "is there already"), ("there.txt", "curricula are TOML")):
        with pytest.raises(UsageError, match=why):
            cli.main(["textbooks", "curriculum", str(recipe), "--out", str(tmp_path / out)], standalone_mode=False)
    assert (tmp_path / "there.toml").read_text() == "mine"
