"""The command line: parse, call, print. The only place that catches `CurationError`."""

from __future__ import annotations

import signal
import sys

import click

from curation import __version__
from curation.cli import classifier, deploy, doctor, inspecting, plan, releases, report, run
from curation.cli.printing import plain
from curation.errors import CurationError


def main() -> None:
    """The entry point: every failure is one message and an exit status."""
    debug = "--debug" in sys.argv
    signal.signal(signal.SIGTERM, _terminated)
    try:
        cli.main([argument for argument in sys.argv[1:] if argument != "--debug"], standalone_mode=False)
    except click.exceptions.Abort:
        _end("stopped; finished parts are kept, and the same command goes on from there", None, 130)
    except KeyboardInterrupt:
        _end("stopped; finished parts are kept, and the same command goes on from there", None, 130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
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


def _end(message: str, remedy: str | None, status: int) -> None:
    click.echo("curate: " + "\n".join(map(plain, message.split("\n"))), err=True)
    if remedy:
        click.echo(f"  -> {remedy}", err=True)
    sys.exit(status)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    run.run,
    plan.plan,
    report.report,
    inspecting.explain,
    inspecting.sql,
    inspecting.signals,
    inspecting.rules,
    doctor.doctor,
    deploy.deploy,
    releases.releases,
    classifier.classifier,
):
    cli.add_command(_command)
