"""The commands and their exit status."""

import importlib.util
import inspect
import logging
import os
import sys

from cyclopts import App, CycloptsError, CycloptsPanel, Group
from pydantic import ValidationError
from rich.console import Console

from ittybatch import __version__
from ittybatch.cli.local import use_local_stack
from ittybatch.cli.output import refused
from ittybatch.cli.status import COULD_NOT_RUN, INTERRUPTED, SUCCEEDED, USAGE
from ittybatch.errors import IttybatchError

# The status that a shell reports for a program that SIGPIPE ended.
_PIPE_CLOSED = 141
# Commands of the extra `local`, each with its function.
_LOCAL = {
    "up": "ittybatch_local.commands:up",
    "demo": "ittybatch_local.demo:demo",
    "sandbox": "ittybatch_local.commands:sandbox",
}
# Services do not take settings from a running stack, and they log at level INFO.
_SERVICES = {*_LOCAL, "receiver"}

# Old names of options, which scripts may still use.
_OLD_OPTIONS = {"--skip-standing": "--skip-existing"}

app = App(
    name="ittybatch",
    version=__version__,
    help="Push whole media libraries through Ittybit with Prefect.\n\n"
    "A batch scans a SOURCE (s3://bucket/prefix/, or a manifest by path or URL), submits "
    "the renditions of a profile for every item, sleeps until signed webhooks wake it, and "
    "reports. Exit status: 0 all succeeded, 1 some failed, 2 usage, 3 could not run.",
    help_format="plaintext",
)

_batches = Group("Batches", sort_key=1)
_results = Group("Results", sort_key=2)
_services = Group("Services", sort_key=3)
_local = Group("Local", help="Needs: pip install 'ittybatch[local]'", sort_key=4)
_maintenance = Group("Maintenance", sort_key=5)

# Commands are given by name, so that `--help` and services do not import other commands.
for _name, _where, _group, _help in (
    ("plan", "planning:plan", _batches, "Show what a run would do. Nothing is submitted."),
    ("run", "starting:run", _batches, "Start a batch."),
    ("follow", "following:follow", _batches, "Show a batch's progress until it has ended."),
    ("retry", "retrying:retry", _batches, "Start a batch of jobs that failed in an earlier one."),
    ("approve", "steering:approve", _batches, "Start a batch that waits for approval."),
    ("pause", "steering:pause", _batches, "Stop submitting a batch until `resume`."),
    ("tune", "steering:tune", _batches, "Change the speed and limits of a running batch."),
    ("resume", "steering:resume", _batches, "Continue a held batch where it stopped."),
    ("adopt", "steering:adopt", _batches, "Record jobs that another ledger submitted."),
    ("cancel", "steering:cancel", _batches, "Stop submitting a batch permanently."),
    ("status", "batches:status", _results, "Show the newest batches, or one."),
    ("jobs", "jobs:jobs", _results, "List a batch's jobs."),
    ("failures", "jobs:failures", _results, "Show why jobs of a batch failed."),
    ("quarantine", "quarantine:app", _results, "Jobs that are held back after a final failure."),
    ("report", "reporting:report", _results, "Write a batch's completion report."),
    ("actions", "actions:actions", _results, "List who asked for what, and the outcome."),
    ("sinks", "sinks:app", _results, "The places that results are delivered to."),
    ("receiver", "serving:receiver", _services, "Run the webhook receiver."),
    ("webhook", "webhook:app", _services, "Webhook endpoints of the whole Ittybit project."),
    ("deploy", "maintenance:deploy", _maintenance, "Apply prefect.yaml and the automations."),
    ("reconcile", "maintenance:reconcile", _maintenance, "Poll overdue jobs; wake waiting runs."),
    ("doctor", "doctor:doctor", _maintenance, "Check the installation and explain how to fix it."),
):
    app.command(f"ittybatch.cli.{_where}", name=_name, group=_group, help=_help)

for _name, _help in (
    ("up", "Run the whole local stack until Ctrl-C."),
    ("demo", "Watch real files become real outputs, locally."),
    ("sandbox", "Run a local Ittybit with real ffmpeg."),
):
    app.command(_LOCAL[_name], name=_name, group=_local, help=_help)

_db = App(name="db", help="The ledger's database.", group=_maintenance)
_db.command(
    "ittybatch.cli.maintenance:upgrade", name="upgrade", help="Upgrade the tables to this version."
)
_db.command(
    "ittybatch.cli.maintenance:tidy", name="tidy", help="Remove old webhooks and polled answers."
)
app.command(_db)
app.register_install_completion_command()


def explain(arguments: list[str]) -> None:
    """Use the whole docstring of the requested command as its help.

    The list of commands shows one line per command, which needs no import.
    """
    command = app
    for word in arguments:
        # Cyclopts lists `--help` as a command.
        if word.startswith("-") or word not in command:
            break
        command = command[word]
    if command.default_command and command is not app:
        command.help = inspect.getdoc(command.default_command)


def _refuse_missing_extra(arguments: list[str]) -> None:
    for name in arguments[:1]:
        if name in _LOCAL and importlib.util.find_spec("ittybatch_local") is None:
            raise IttybatchError(
                f"`ittybatch {name}` is not installed here; workers do not need it.",
                remedy="Install it: pip install 'ittybatch[local]'",
            )


def main() -> None:
    """Run the command line and exit."""
    arguments = [_OLD_OPTIONS.get(each, each) for each in sys.argv[1:]]
    is_service = bool(arguments) and arguments[0] in _SERVICES
    logging.basicConfig(
        # Between the lines of a table or a spinner, show only warnings.
        level=logging.INFO if is_service else logging.WARNING,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    # These libraries log a line for each request, migration or set of credentials.
    for name in ("httpx", "alembic", "botocore", "boto3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        is_command = bool(arguments) and not arguments[0].startswith("-")
        wants_help = not {"--help", "-h"}.isdisjoint(arguments)
        if is_command and arguments[0] not in _SERVICES and not wants_help:
            # Do this before the command's module is imported, because Prefect reads its settings
            # once.
            use_local_stack()
        _refuse_missing_extra(arguments)
        explain(arguments)
        result = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        if isinstance(error.__cause__, ValidationError):
            # The value is out of range: print the same error as for values that we check.
            _print_error(errors, str(refused(error.__cause__)))
            return COULD_NOT_RUN
        # `soft_wrap` would cut off the panel at the edge of the screen.
        Console(stderr=True, highlight=False).print(CycloptsPanel(error))
        return USAGE
    except IttybatchError as error:
        _print_error(errors, str(error))
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, for example `head`, has stopped. Python would flush once more, and fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return result if isinstance(result, int) else SUCCEEDED


def _print_error(errors: Console, message: str) -> None:
    errors.print("error:", style="bold red", end=" ")
    errors.print(message, markup=False)
