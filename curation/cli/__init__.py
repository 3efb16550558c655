"""The command line: parse, call, print. The only place that catches `CurationError`."""

from __future__ import annotations

import atexit
import gc
import os
import re
import signal
import sys

import click

from curation import __version__
from curation.cli import (
    classifier,
    dedup,
    deploy,
    doctor,
    extractor,
    forget,
    inspecting,
    plan,
    releases,
    report,
    run,
    textbooks,
    tokenizer,
)
from curation.cli.printing import plain
from curation.errors import CurationError


def main() -> None:
    """The entry point: every failure is one message and an exit status."""
    debug = "--debug" in sys.argv
    atexit.register(gc.freeze)  # else the process looks through all that was imported when it ends: 0.4 s with numba
    gc.set_threshold(300_000)  # and again and again while it imports: 0.2 s; documents are the workers' work
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own keeps 50 MB more, in workers too
    # Two libraries start a thread when they are imported, and a process with threads cannot be copied for its workers.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
        cli.main(arguments, prog_name="curate", standalone_mode=False)
    except click.exceptions.Abort:
        _end("stopped; finished parts are kept, and the same command goes on from there", None, 130)
    except KeyboardInterrupt:
        _end("stopped; finished parts are kept, and the same command goes on from there", None, 130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        _end(*_misused(error), 2)
    except CurationError as error:
        if debug:
            raise
        _end(error.message, error.remedy, error.exit_status)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", []))
        _end(
            f"unexpected {type(error).__name__}: {error}{notes}",
            "run it again with --debug and report what it shows; finished parts are kept",
            1,
        )


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _misused(error: click.UsageError) -> tuple[str, str]:
    """What is wrong with a call, and an example of a right one."""
    if error.ctx is None:
        return error.format_message(), "curate --help"
    command = error.ctx.command
    example = re.search(r"^\s*Example: (.+)$", command.help or "", re.MULTILINE)
    more = f"{error.ctx.command_path} --help"
    place = error.ctx.command_path.removeprefix("curate").lstrip()
    message = (f"{place}: " if place else "") + error.format_message().rstrip(".")
    return message, f"for example: {example.group(1)}; more: {more}" if example else more


def _end(message: str, remedy: str | None, status: int) -> None:
    click.echo("curate: " + "\n".join(map(plain, message.split("\n"))), err=True)
    if remedy:
        click.echo(f"  -> {plain(remedy)}", err=True)
    sys.exit(status)


class InOrder(click.Group):
    """A group that lists its commands in the order in which one needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names as they were added."""
        del ctx
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="curate")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def cli(debug: bool) -> None:  # main() reads it from sys.argv, before anything can fail
    """Turn raw web and internal text into the textbook a language model learns from.

    \b
    Begin with:  curate init my-textbook
                 curate run my-textbook/recipe.toml
    """  # noqa: D301  # click reads the backspace as: leave these lines as they are


for _command in (
    run.init,
    doctor.doctor,
    plan.plan,
    run.run,
    report.report,
    inspecting.explain,
    dedup.dedup,
    inspecting.sql,
    inspecting.rules,
    inspecting.signals,
    releases.releases,
    forget.forget,
    deploy.deploy,
    classifier.classifier,
    extractor.extractor,
    tokenizer.tokenizer,
    textbooks.textbooks,
):
    cli.add_command(_command)
