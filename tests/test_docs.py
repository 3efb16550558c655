"""The documentation says what is so: its reference is complete, its links lead somewhere, its examples run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner
from test_reading import publish

from curation import errors, pipeline, rules
from curation.cli import cli
from curation.dedup.signatures import probability
from curation.recipe import load, parse
from curation.rules import presets
from curation.run import workspace
from curation.sample import copy_to
from curation.signals import SIGNALS, signal_name
from curation.sources import KINDS
from curation.storage import open_storage
from docs import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.engine import LocalEngine

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Pages whose commands are run on what first-run.md leaves, besides first-run.md itself.
RUNNABLE = ["rules.md", "duplicates.md", "blend.md", "releases.md", "forget.md", "recipe.md", "explain-and-sql.md"]


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _fences(text: str) -> Iterator[tuple[str, str]]:
    """Each fenced block: the word behind the fence, and what is in it."""
    for found in re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield found.group(1), found.group(2)


def _lines(block: str) -> Iterator[list[str]]:
    """The words of each command of a shell block."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def _commands(path: Path) -> list[list[str]]:
    """Every `curate …` line of a page's shell blocks."""
    blocks = [block for kind, block in _fences(path.read_text(encoding="utf-8")) if kind in ("sh", "")]
    return [words[1:] for block in blocks for words in _lines(block) if words[0] == "curate"]


# The reference is complete


@pytest.mark.parametrize(
    ("name", "command"), list(reference.commands()), ids=[name for name, _ in reference.commands()]
)
def test_commands_are_in_the_reference(name: str, command: click.Command) -> None:
    """Each command has a heading, its help and, unless it is a group, an example."""
    page = _page("commands.md")
    assert f"## {name}\n" in page
    if not isinstance(command, click.Group):
        assert "Example: curate " in (command.help or "")
        assert (command.help or "").split("\n")[0].split(".")[0] in re.sub(r"\s+", " ", page)


def test_recipe_keys_are_in_the_reference() -> None:
    """Each key of each table has a row that says what it does; nothing is described that is not there."""
    page = _page("recipe.md")
    keys = list(reference.recipe_keys())
    assert len(keys) >= 30
    for path, expected, _, about in keys:
        key = path.rpartition(".")[2]
        assert f"| `{key}` | {expected}".replace("|", "\\|")[2:] in page.replace("|", "\\|"), path
        assert about, path
    assert set(reference.ABOUT) == {path for path, *_ in keys}


def test_presets_are_in_the_page_on_rules() -> None:
    """Each preset stands there with its source and every rule."""
    page = _page("rules.md")
    for label, preset in presets().items():
        assert f"### {label}\n" in page
        assert preset.source in page
        assert all(f"| `{name}` | `{predicate}` |" in page for name, predicate in preset.rules.items())


def test_signals_are_in_the_page_on_signals() -> None:
    """Each signal stands in the list at the top and has a heading."""
    page = _page("signals.md")
    for module in SIGNALS:
        assert f"| `{signal_name(module)}` |" in page
        assert f"## {signal_name(module)}\n" in page


def test_kinds_are_in_the_page_on_sources() -> None:
    """Each kind of source has a heading with an example, and both shipped recipes name it."""
    page = _page("sources.md")
    for kind in KINDS:
        assert f"## {kind}\n" in page
        assert f'kind = "{kind}"\n' in page
        for recipe in ("quickstart.toml", "textbook.toml"):
            comments = re.findall(r"^kind = .*# (.*)$", (ROOT / "recipes" / recipe).read_text("utf-8"), re.MULTILINE)
            assert re.search(rf"\b{kind}\b", comments[0]), f"{recipe}: {kind}"


def test_errors_are_in_the_page_on_trouble() -> None:
    """Each kind of error has a heading with a message as it is printed."""
    page = _page("troubleshooting.md")
    kinds = [
        name for name, kind in vars(errors).items() if isinstance(kind, type) and kind.__module__ == errors.__name__
    ]
    assert len(kinds) >= 9
    for kind in kinds:
        _, _, section = page.partition(f"## {kind}\n")
        assert "```text\ncurate: " in section.partition("\n## ")[0], kind


def test_the_probability_table_is_right() -> None:
    """The table of duplicates.md holds what the formula gives, by hand for one cell."""
    assert round(probability(0.75, 18, 6), 3) == round(1 - (1 - 0.75**6) ** 18, 3) == 0.971
    assert "| 0.75 | 97.1% |" in _page("duplicates.md")


def test_generated_blocks_are_current() -> None:
    """`make docs` would change nothing."""
    pytest.importorskip("cogapp")
    pages = [str(path.relative_to(ROOT)) for path in PAGES]
    found = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", *pages], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


# Links, paths, recipes, commands


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.lower())) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_resolve(path: Path) -> None:
    """Each relative link leads to a file, and to a heading in it where it names one."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in _anchors(there.read_text(encoding="utf-8")), f"{path.name}: {target}"


def test_every_page_is_linked_from_the_readme() -> None:
    """Nobody has to find a page by listing the folder."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme] == []


def test_the_file_tree_is_the_one_on_disk() -> None:
    """Each path of the README's tree exists, and each module and folder of curation/ is in it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = next(block for kind, block in _fences(readme) if kind == "text" and "pyproject.toml" in block)
    named: list[str] = []
    for line in tree.splitlines():
        name, about = line.split(maxsplit=1)
        assert about, line
        if line.startswith("  "):
            named.append(name)
            name = f"curation/{name}"
        assert (ROOT / name).exists(), name
    inside = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "curation").iterdir()
        if not path.name.startswith("__") and (path.suffix == ".py" or (path / "__init__.py").exists())
    ]
    assert sorted(named) == sorted(inside)


@pytest.mark.parametrize("path", [*PAGES, *sorted((ROOT / "recipes").glob("*.toml"))], ids=lambda path: path.name)
def test_no_path_of_a_machine(path: Path) -> None:
    """No page names a folder of the machine it was written on, nor a host name."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.…])/(work|tmp|root|home|opt|mnt)/", text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_recipes_in_pages_are_right(path: Path, tmp_path: Path) -> None:
    """Each block of TOML is a recipe, or becomes one when a name and a source are added."""
    base: dict[str, Any] = {"name": "base", "source": [{"name": "base", "kind": "text", "paths": ["base.txt"]}]}
    for kind, block in _fences(path.read_text(encoding="utf-8")):
        if kind == "toml":
            table = tomllib.loads(block)
            recipe = parse(base | table, tmp_path / "recipe.toml")
            if "signals" not in table:  # models and modules of the reader's own are not here
                rules.rules_of(recipe)


@pytest.mark.parametrize("name", ["textbook.toml", "quickstart.toml"])
def test_shipped_recipes_load(name: str) -> None:
    """A shipped recipe loads, and its SQL fits the columns there will be."""
    recipe = load(ROOT / "recipes" / name)
    work, _ = workspace(recipe)
    assert len(rules.check(recipe, work)) > 25


def test_the_commented_recipe_has_every_key() -> None:
    """recipes/textbook.toml shows each key of the reference, set or commented out."""
    text = (ROOT / "recipes" / "textbook.toml").read_text(encoding="utf-8")
    for path, *_ in reference.recipe_keys():
        key = path.rpartition(".")[2]
        if key not in ("NAME", "group", "limit", "server"):
            assert re.search(rf"^(# )?{key} = ", text, re.MULTILINE), path


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_in_pages_exist(path: Path) -> None:
    """Each `curate …` line names a command with options and arguments that it takes."""
    for words in _commands(path):
        _parse(words)


def test_there_are_commands_to_check() -> None:
    """The pages hold enough of them that the check above checks something."""
    assert sum(len(_commands(path)) for path in PAGES) >= 30


def _parse(words: list[str]) -> None:
    """Raise where click would: options of `curate` itself first, then the command with its own."""
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        if name.startswith("-"):
            assert any(name in option.opts for option in command.params), f"no option {name}: {words}"
        else:
            assert name in command.commands, f"no command {name}: {words}"
            command = command.commands[name]
    command.make_context(command.name, rest)


# What the pages show is what happens


def _normal(text: str, folder: Path) -> list[str]:
    """Lines without what differs from run to run: seconds, versions, the folder, and how far slow work has come."""
    text = re.sub(r"(?m)^  [a-z: ]+: \S+ \S+ of .*\n", "", text)
    text = re.sub(re.escape(str(folder)) + r"|…(?=/)", "", text)
    text = re.sub(r" +\d+\.\d s  ", " S ", text)
    text = re.sub(r"\d{4}\.\d\d\.\d\d(\.\d+)?", "V", text)
    return [re.sub(r"(?<=\S)  +", "  ", line).rstrip() for line in text.strip().splitlines()]


def _same(shown: list[str], printed: list[str]) -> bool:
    """Whether the lines are the same; a line of `…` stands for any lines, one at the end of a line for its rest."""
    if not shown or not printed:
        return not printed and all(line == "…" for line in shown)
    if shown[0] == "…":
        return any(_same(shown[1:], printed[start:]) for start in range(len(printed) + 1))
    first = shown[0]
    fits = printed[0].startswith(first[:-2]) if first.endswith(" …") else printed[0] == first
    return fits and _same(shown[1:], printed[1:])


def _steps(text: str) -> list[tuple[str, str, str | None]]:
    """The shell and Python blocks of a page, each with the output shown below it."""
    fences = list(_fences(text))
    following = [*fences[1:], ("", "")]
    return [
        (kind, block, output if below == "text" else None)
        for (kind, block), (below, output) in zip(fences, following, strict=True)
        if kind in ("sh", "python")
    ]


def test_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of first-run.md, run in order, print what it shows; those of the pages that build on it succeed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    steps = _steps(_page("first-run.md"))
    assert len(steps) >= 12
    for kind, block, output in steps:
        if kind == "sh":
            printed = "".join(_curate(words) for words in _lines(block))
            _compare(block, output, printed, tmp_path)
    for name in RUNNABLE:
        for words in _commands(ROOT / "docs" / name):
            assert words[0] != "run" or "--until" in words, f"{name} publishes: {words}"
            _curate(["curate", *words])
    # In a process of its own, since `datasets` decides at its import where it caches; a line of \\x1e ends each block.
    blocks = [(block, output) for kind, block, output in steps if kind == "python"]
    code = "\nprint('\\x1e')\n".join(block for block, _ in blocks)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    printed = _printed([sys.executable, "-c", code]).split("\x1e\n")
    for (block, output), text in zip(blocks, printed, strict=True):
        _compare(block, output, text, tmp_path)


def test_the_walk_of_the_textbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands, run in order, print what it shows; the plan that they make is the one that ships."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    steps = _steps(_page("textbooks.md").partition("## A walk\n")[2].partition("\n## ")[0])
    assert [kind for kind, _, _ in steps] == ["sh"] * 8
    for _, block, output in steps:
        _compare(block, output, "".join(_curate(words) for words in _lines(block)), tmp_path)
    shipped = ROOT / "recipes" / "sample" / "written" / "plan.parquet"
    assert (tmp_path / "my-textbook" / "plan.parquet").read_bytes() == shipped.read_bytes()


SNIPPETS = [block for kind, block in _fences(_page("reading.md")) if kind == "python"]


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_release_is_read_as_the_page_says(code: str, tmp_path: Path) -> None:
    """Each Python block of reading.md runs, twice, beside a release; where its library is not there, it skips."""
    for library in re.findall(r"^(?:from|import) (torchdata|datasets|duckdb)\b", code, re.MULTILINE):
        if find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    publish(open_storage(str(tmp_path / "releases")), (20, 15), "2026.11.23", "quickstart")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True,
                              text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_the_page_on_reading_has_its_snippets() -> None:
    """One for each library, and for going on with as many readers and with more."""
    assert len(SNIPPETS) >= 6
    for word in ("datasets", "duckdb", "StatefulDataLoader", "load_state_dict(states)", "json.loads(checkpoint"):
        assert any(word in code for code in SNIPPETS), word


def test_an_index_tells_whether_a_document_is_new(sample: Path, tmp_path: Path, engine: LocalEngine) -> None:
    """The Python of duplicates.md finds what is near a document of the run, and nothing for a sentence of its own."""
    (block,) = [code for kind, code in _fences(_page("duplicates.md")) if kind == "python"]
    run = pipeline.run(load(sample, work=str(tmp_path / "work")), engine, until="measure")
    document = run.work.documents.read(next(iter(run.parts)), ["id", "text"]).to_pylist()[0]
    here = block.replace('load("my-textbook/recipe.toml")', f"load({str(sample)!r}, work={str(tmp_path / 'work')!r})")
    assert here != block
    assert _printed([sys.executable, "-c", here]).strip() == "new"
    sentence = '"Tides come twice a day, and the Moon is why."'
    again = here.replace(sentence, repr(document["text"] + " And a few words more."))
    assert again != here
    assert document["id"] in _printed([sys.executable, "-c", again])


def _compare(block: str, output: str | None, printed: str, folder: Path) -> None:
    if output is not None and not _same(_normal(output, folder), _normal(printed, folder)):
        pytest.fail(f"{block}\nprints\n\n{printed}\nbut the page shows\n\n{output}")


def _curate(words: list[str]) -> str:
    assert words[0] == "curate", words
    result = CliRunner().invoke(cli, words[1:])
    assert result.exit_code == 0, f"{words}\n{result.output}\n{result.exception!r}"
    return result.output


def _printed(command: list[str]) -> str:
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, f"{command[-1]}\n{found.stdout}{found.stderr}"
    return found.stdout


def test_the_readme_shows_a_real_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README shows is what a run of recipes/quickstart.toml prints, tables and all."""
    copy_to(tmp_path / "recipes")
    assert (tmp_path / "recipes" / "recipe.toml").read_bytes() == (ROOT / "recipes" / "quickstart.toml").read_bytes()
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = next(block for kind, block in _fences(readme) if kind == "text" and block.startswith("pull"))
    _compare("curate run", shown, _curate(["curate", "run", "recipes/recipe.toml"]), tmp_path)
