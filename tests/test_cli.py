"""The command line: every wrong use is one message with its remedy, an exit status, and no traceback."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation import cli

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.run import Run

Call = "Callable[..., tuple[int, str, str]]"


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Call `curate` in this process: exit status, output, errors."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["curate", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def recipe(sample: Path, tmp_path: Path) -> Path:
    """The sample's recipe in a folder of its own."""
    shutil.copytree(sample.parent, tmp_path / "textbook", ignore=shutil.ignore_patterns("work", "releases"))
    return tmp_path / "textbook" / "recipe.toml"


def change(recipe: Path, old: str, new: str) -> None:
    """Change the recipe's text."""
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))


WRONG = {
    "a misspelt key": ("similarity = 0.75", "similiarity = 0.75", 2, r'dedup: unknown key "similiarity"; did you mean "similarity"'),
    "a misspelt table": ("[dedup]", "[dedupe]", 2, r'recipe: unknown key "dedupe"; did you mean "dedup"'),
    "a share as text": ("share = 0.5", 'share = "50%"', 2, r'blend\.group\[0\]\.share: expected a number from 0 to 1, got "50%"'),
    "shares over one": ("share = 0.5", "share = 0.9", 2, r"blend\.group: expected shares that add up to 1, got 1\.4"),
    "a missing column": ("education_score < 1.5", "educaton_score < 1.5", 2, r"rules\.low_value: there is no column 'educaton_score'; nearest are education_score"),
    "no predicate": ('"source = \'web\' and education_score < 1.5"', '"education_score"', 2, r"rules\.low_value: expected a predicate"),
    "broken SQL": ("education_score < 1.5", "education_score <", 2, r"rules\.low_value: .*syntax error"),
    "an unknown preset": ('"gopher-quality"', '"gophr-quality"', 2, r'rules\.presets\[0\]: unknown preset "gophr-quality"; did you mean'),
    "an unknown kind": ('kind = "warc"', 'kind = "wrac"', 2, r'source\[0\]\.kind: expected one of warc, .*, got "wrac"'),
    "an unknown edit": ('["c4_lines"]', '["c4_line"]', 2, r'edit\.remove\[0\]: unknown edit "c4_line"; did you mean "c4_lines"'),
    "an unknown column to publish": ('["education_score", "language"]', '["languge"]', 2, r'release\.columns\[0\]: unknown column "languge"; did you mean "language"'),
    "no TOML": ("[dedup]", "[dedup", 2, r"not TOML: .*line \d+"),
    "a missing file": ("sample/textbook.jsonl", "sample/textbok.jsonl", 1, r"sample/textbok\.jsonl: there is no such file"),
    "an empty glob": ("sample/handbook/*.md", "sample/handbook/*.rst", 1, r"sample/handbook/\*\.rst: no file matches"),
    "an unset variable": ("sample/textbook.jsonl", "$NO_SUCH_PLACE/a.jsonl", 1, r"the environment variable NO_SUCH_PLACE is not set"),
    "documents in no group": ("where = \"source = 'handbook'\"", 'where = "false"', 1, r"8 kept documents are in no blend group"),
    "another storage": ('to = "releases"', 'to = "gs://bucket/x"', 2, r"gs://bucket/x: "),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_recipe_is_one_message(case: str, recipe: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    """What, where, what was there instead, the remedy; exit 2 for the recipe, 1 for its input; no traceback."""
    old, new, status, message = WRONG[case]
    change(recipe, old, new)
    got, _, error = call("run", recipe, "--workers", "1")
    assert got == status
    assert re.search(message, error), error
    assert "Traceback" not in error
    assert error.startswith("curate: ") or "\ncurate: " in error
    if status == 1 or case == "another storage":
        assert "\n  -> " in error


def test_all_faults_of_a_recipe_are_said_at_once(recipe: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    """Three faults, three lines."""
    change(recipe, "seed = 0", 'seed = "zero"')
    change(recipe, "similarity = 0.75", "similarity = 7")
    change(recipe, "max_copies = 2", "max_copis = 2")
    status, _, error = call("run", recipe)
    assert status == 2
    assert "3 faults" in error
    assert all(place in error for place in ("seed:", "dedup.similarity:", 'unknown key "max_copis"'))


CALLS = {
    "no such recipe": (("run", "nowhere.toml"), 2, "nowhere.toml: there is no such recipe"),
    "a folder for a recipe": (("run", "."), 2, "is a folder"),
    "no such command": (("rum",), 2, "No such command"),
    "no such option": (("run", "x.toml", "--wrkers", "2"), 2, "--wrkers"),
    "no such releases": (("releases", "list", "nowhere"), 2, "nowhere: there is no such folder"),
    "no release yet": (("releases", "show", "."), 1, "there is no release"),
    "a rule without a predicate": (("plan", "x.toml", "--rule", "low_value"), 2, "expected NAME=SQL"),
    "no labels": (("classifier", "train", "nowhere.jsonl", "--out", "x.bin"), 2, "nowhere.jsonl"),
    "no model": (("classifier", "evaluate", "nowhere.bin", "nowhere.jsonl"), 2, "nowhere"),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_wrong_call_is_one_message(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., tuple[int, str, str]]
) -> None:
    """Exit 2, or 1 where the call is right and what it asks for is not there."""
    arguments, status, message = CALLS[case]
    monkeypatch.chdir(tmp_path)
    got, _, error = call(*arguments)
    assert got == status, error
    assert message in error
    assert "Traceback" not in error


def test_a_remedy_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """It may name a path, and a path may hold anything."""
    with pytest.raises(SystemExit):
        cli._end("what \x1b[2J", "rm \x1b[2Jfile", 1)
    assert capsys.readouterr().err == "curate: what \\x1b[2J\n  -> rm \\x1b[2Jfile\n"


def test_a_rule_of_the_recipes_own_is_taken_away(
    tiny: Callable[..., Run], call: Callable[..., tuple[int, str, str]]
) -> None:
    """What the plan prints can be done and run, be the rule in the recipe or set for this run."""
    run = tiny({"s": [{"text": "one two"}, {"text": "one"}]}, '[rules]\nshort = "word_count < 2"\n', until="judge")
    path = run.recipe.path
    status, out, error = call("plan", path, "--rule", "short=false", "--rule", "all=true")
    assert status == 0, error
    assert f"first:   remove short from [rules] in {path}\n" in out
    change(path, 'short = "word_count < 2"\n', "")
    command = shlex.split(out.rpartition("run it:  curate ")[2])
    assert call(*command, "--until", "judge")[0] == 0
    assert call("run", path, "--set", "rules.long=word_count > 1", "--until", "judge")[0] == 0
    status, out, error = call("plan", path, "--set", "rules.long=word_count > 1", "--rule", "long=false")
    assert (status, "first:" in out, "--set" in out) == (0, False, False), error
    assert call(*shlex.split(out.rpartition("run it:  curate ")[2]), "--until", "judge")[0] == 0


def test_a_plan_says_that_it_counts_no_domains(
    tiny: Callable[..., Run], call: Callable[..., tuple[int, str, str]]
) -> None:
    """With and without --rule, and only of groups that are bounded."""
    group = '[blend]\ntokens = 9\n[[blend.group]]\nname = "web"\nwhere = "true"\nshare = 1.0\n'
    run = tiny({"s": [{"text": "one two"}]}, f"{group}max_per_domain = 1\n", until="judge")
    for more in ((), ("--rule", "x=word_count < 2")):
        status, out, error = call("plan", run.recipe.path, *more)
        assert (status, "not counted: max_per_domain of web;" in out) == (0, True), error
    change(run.recipe.path, "max_per_domain = 1\n", "")
    assert "max_per_domain" not in call("plan", run.recipe.path)[1]


def test_a_misused_command_shows_a_right_call(call: Callable[..., tuple[int, str, str]]) -> None:
    """What is wrong, with which command, and its example; what is misspelt with what is nearest."""
    status, _, error = call("run")
    assert status == 2
    assert error.startswith(
        "curate: run: Missing argument 'RECIPE'\n  -> for example: curate run my-textbook/recipe.toml"
    )
    assert call("rum")[2] == "curate: No such command 'rum'. Did you mean 'run'?\n  -> curate --help\n"
    assert "Begin with:  curate init" in call()[2]


def test_asking_before_the_first_run(recipe: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    """Explain and sql say that nothing was run yet, and the command that does it."""
    for arguments in (
        ("explain", recipe, "x"),
        ("sql", recipe, "select 1"),
        ("plan", recipe, "--rule", "x=true"),
        ("report", recipe),
    ):
        status, _, error = call(*arguments)
        assert status == 1
        assert re.search("nothing was run here yet|there is no report yet", error)
        assert re.search(r"curate run .*recipe\.toml", error)


def test_the_commands_on_a_finished_run(recipe: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    """run, explain, sql, rules, signals, releases: each answers, as text and as JSON."""
    status, out, error = call("run", recipe)
    assert status == 0, error
    assert re.search(r"web +42 +4 +", out)
    assert "report.html" in out
    status, out, _ = call("run", recipe, "--json")
    assert json.loads(out)["figures"]["publish"]["published"] is False
    status, out, _ = call("explain", recipe, "https://portal.brightdesk.example/login")
    assert ": dropped" in out
    assert re.search(r"gopher_too_short +word_count < 50 +here word_count = \d+", out)
    status, out, _ = call("explain", recipe, "https://raindrop-school.example/assets/logo.png", "--json")
    assert json.loads(out)[0]["fate"] == "error"
    status, out, _ = call("sql", recipe, "select count(*) as n from corpus where keep", "--json")
    assert json.loads(out) == [{"n": 41}]
    status, out, error = call("sql", recipe, "select nothing from nowhere")
    assert (status, "cannot be run" in error) == (2, True)
    status, _, error = call("explain", recipe, "https://nowhere.example/")
    assert (status, "no document has the id or URI" in error) == (2, True)
    status, out, _ = call(
        "plan", recipe, "--rule", "low_value=education_score < 3", "--rule", "c4_too_few_sentences=false"
    )
    assert (status, "rule low_value\n  now             source = 'web' and education_score < 1.5" in out) == (0, True)
    assert re.search(r"^web +21 +\d+ +\d+ +\d+ ", out, re.MULTILINE)
    assert "--set 'rules.low_value=education_score < 3' --set rules.c4_too_few_sentences=false" in out
    status, out, _ = call("plan", recipe, "--rule", "low_value=education_score < 3", "--json", "--samples", "1")
    assert [len(change["hit"]) for change in json.loads(out)["changes"]] == [1]
    status, out, error = call("plan", recipe, "--rule", "low_value=educaton_score < 3")
    assert (status, "nearest are education_score" in error) == (2, True)
    status, out, _ = call("report", recipe, "--out", recipe.parent / "copy.html")
    assert (status, out.strip()) == (0, str(recipe.parent / "copy.html"))
    assert (recipe.parent / "copy.html").read_bytes() == Path(call("report", recipe)[1].strip()).read_bytes()
    status, _, error = call("report", recipe, "--out", recipe / "copy.html")
    assert (status, "cannot be written" in error) == (2, True)
    status, out, _ = call("report", recipe, "--cost")
    assert re.search(r"^stage +seconds +of the processor +MB read +MB written\npull( +[0-9.,]+){4}\n", out)
    assert re.search(r"^publish( +[0-9.,]+){4}\nall( +[0-9.,]+){4}$", out, re.MULTILINE)
    status, _, error = call("report", recipe, "--cost", "--open")
    assert (status, "no page to open" in error) == (2, True)
    status, out, _ = call("rules", recipe)
    assert re.search(r"gopher_too_short +\d+ +[0-9.]+% +\d+  gopher-quality@paper +word_count < 50", out)
    status, out, _ = call("rules", recipe, "--sql")
    assert "list_filter" in out
    status, out, _ = call("signals", recipe, "--json")
    assert {"signature", "education", "c4"} <= {row["signal"] for row in json.loads(out)}
    for place in (recipe, recipe.parent / "releases"):
        assert "latest" in call("releases", "list", place)[1]
        assert call("releases", "verify", place)[0] == 0
        assert "documents" in call("releases", "show", place)[1]
    shard = next((recipe.parent / "releases").rglob("*.parquet"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    status, _, error = call("releases", "verify", recipe)
    assert (status, "its sha256 is not the manifest's" in error) == (1, True)


def test_init_makes_a_folder_that_runs_and_changes_none(
    tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    """A new folder with recipe and sample; one that holds something is left alone."""
    status, out, _ = call("init", tmp_path / "book")
    assert status == 0
    assert "curate run" in out
    assert (tmp_path / "book" / "recipe.toml").is_file()
    assert (tmp_path / "book" / "written.toml").is_file()
    assert (tmp_path / "book" / "sample" / "written" / "ledger" / "answers").is_dir()
    status, _, error = call("init", tmp_path / "book")
    assert (status, "not empty" in error) == (2, True)


def test_a_full_disk_is_one_message(recipe: Path, tmp_path: Path) -> None:
    """What could not be written, that finished parts are kept; with room the same command goes on to the end."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not mounted:
        pytest.skip("only root may mount a small disk to fill")
    command = [sys.executable, "-m", "curation", "run", str(recipe), "--work", str(disk / "work"), "--workers", "1"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert re.search(r"curate: cannot write .*: No space left on device\n  -> free some space", done.stderr), (
            done.stderr
        )
        assert "Traceback" not in done.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_an_unreadable_folder_is_one_message(recipe: Path) -> None:
    """The folder, and what to check; tried as a user without rights where the tests run as root."""
    closed = [place for place in (Path(sys.prefix), *Path(sys.prefix).parents) if not place.stat().st_mode & 0o001]
    if os.getuid() == 0 and closed:
        pytest.skip(f"the packages lie in {closed[0]}, where only root may read them")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shutil.copytree(recipe.parent, folder / "textbook")
        handbook = folder / "textbook" / "sample" / "handbook"
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
        handbook.chmod(0)
        script = (
            "import os, sys\n"
            "from curation import cli, engine, pipeline, recipe, rules, run, sources\n"
            "from curation.cli import main\n"
            f"sys.argv = ['curate', 'run', '{folder}/textbook/recipe.toml']\n"
            "loaded = recipe.load(sys.argv[2])\n"  # what is imported late, while nobody may read it yet
            "rules.check(loaded, run.workspace(loaded)[0]), [sources.load(kind) for kind in sources.KINDS]\n"
            "os.getuid() or os.setuid(65534)\n"  # nobody
            "main()"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        handbook.chmod(0o777)
    assert done.returncode == 1, done.stderr
    assert f"{handbook}: the folder cannot be read\n  -> check its permissions" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_stops_within_two_seconds(recipe: Path) -> None:
    """One message, exit 130, no process and no half-written file left; the rerun ends well."""
    lines = "\n".join(json.dumps({"text": f"{n} " + "some words to measure " * 20_000}) for n in range(40))
    (recipe.parent / "sample" / "textbook.jsonl").write_text(lines)
    command = [sys.executable, "-m", "curation", "run", str(recipe), "--set", "dedup.max_loss=1.0"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    signals = recipe.parent / "work" / "quickstart" / "documents" / "textbook"
    deadline = time.monotonic() + 60
    while not list(signals.glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert time.monotonic() - asked < 2
    assert process.returncode == 130, error
    assert "stopped; finished parts are kept" in error
    time.sleep(0.5)
    listed = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    states = [line.split()[1] for line in listed.splitlines() if line.split()[0] == str(process.pid)]
    assert all(state.startswith("Z") for state in states), "a worker is still there"
    assert not list(recipe.parent.rglob("*.tmp"))


def test_help_is_quick_and_complete(call: Callable[..., tuple[int, str, str]]) -> None:
    """Every command says what it does with an example; none of the heavy libraries is loaded for it."""
    heavy = "{'pyarrow', 'duckdb', 'numpy', 'pydantic', 'rich'}"
    script = (
        "import sys; sys.argv = ['curate', '--help']\nfrom curation.cli import main\n"
        f"try: main()\nfinally: print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    for name, command in cli.cli.commands.items():
        for child in getattr(command, "commands", {name: command}):
            path = [name] if child == name else [name, child]
            assert "Example: curate " + " ".join(path) in call(*path, "--help")[1], path


def test_a_server_that_is_not_there_is_one_message(sample: Path, tmp_path: Path) -> None:
    """A run that is to be recorded is not run unrecorded, nor does it end in a traceback."""
    pytest.importorskip("prefect")
    for url, words in (("http://127.0.0.1:9/api", "no server answers there"), ("http://a b/api", "control characters")):
        done = subprocess.run(
            [sys.executable, "-m", "curation", "run", str(sample), "--work", str(tmp_path / "work")],
            env={**os.environ, "PREFECT_API_URL": url}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert words in done.stderr
        assert "unset PREFECT_API_URL" in done.stderr
        assert "Traceback" not in done.stderr
