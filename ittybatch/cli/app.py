"""The commands, and how they end."""

import importlib.util
import inspect
import logging
import os
import sys

from cyclopts import App, CycloptsError, Group
from rich.console import Console

from ittybatch import __version__
from ittybatch.cli.local import use_local_stack
from ittybatch.cli.status import COULD_NOT_RUN, SUCCEEDED, USAGE
from ittybatch.errors import IttybatchError

_INTERRUPTED = 130
# What a shell says of a program that SIGPIPE ended.
_UNREAD = 141
# Commands of the extra `local`, by the function that runs each.
_LOCAL = {
    "up": "ittybatch_local.commands:up",
    "demo": "ittybatch_local.demo:demo",
    "sandbox": "ittybatch_local.commands:sandbox",
}
# These are the stack, or run beside whatever else there is.
_ON_THEIR_OWN = {*_LOCAL, "receiver"}

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
_care = Group("Care", sort_key=5)

# By name, so that `--help` and a service start without what the other commands import.
for _name, _where, _group, _help in (
    ("plan", "starting:plan", _batches, "Tell what a run would do. Nothing is submitted."),
    ("run", "starting:run", _batches, "Start a batch."),
    ("retry", "starting:retry", _batches, "Start a batch of what failed in an earlier one."),
    ("approve", "steering:approve", _batches, "Let a batch begin that waits to be approved."),
    ("pause", "steering:pause", _batches, "Submit nothing more of a batch until `resume`."),
    ("tune", "tuning:tune", _batches, "Run a batch faster or slower, from here on."),
    ("resume", "steering:resume", _batches, "Let a held batch go on from where it stopped."),
    ("adopt", "adopting:adopt", _batches, "Record jobs that another ledger had Ittybit make."),
    ("cancel", "steering:cancel", _batches, "Submit nothing more of a batch."),
    ("status", "looking:status", _results, "Show the newest batches, or one."),
    ("jobs", "looking:jobs", _results, "List a batch's jobs."),
    ("failures", "looking:failures", _results, "Show why jobs of a batch failed."),
    ("quarantine", "quarantine:app", _results, "Jobs that no batch makes again by itself."),
    ("report", "looking:report", _results, "Write a batch's completion report."),
    ("receiver", "serving:receiver", _services, "Run the webhook receiver."),
    ("deploy", "caring:deploy", _care, "Tell Prefect of work pool, deployments, automations."),
    ("reconcile", "caring:reconcile", _care, "Ask for what no webhook told; wake what waits."),
    ("doctor", "doctor:doctor", _care, "Check everything, and say how to mend it."),
):
    app.command(f"ittybatch.cli.{_where}", name=_name, group=_group, help=_help)

for _name, _help in (
    ("up", "Run the whole local stack until Ctrl-C."),
    ("demo", "Watch real files become real outputs, locally."),
    ("sandbox", "Run a local Ittybit with real ffmpeg."),
):
    app.command(_LOCAL[_name], name=_name, group=_local, help=_help)

_db = App(name="db", help="The ledger's database.", group=_care)
_db.command("ittybatch.cli.caring:upgrade", name="upgrade", help="Bring the tables up to date.")
_db.command("ittybatch.cli.tidying:tidy", name="tidy", help="Remove what only takes room.")
app.command(_db)


def explain(arguments: list[str]) -> None:
    """Let the help of the command that is asked for be all that its docstring says.

    The list of commands keeps one line for each, for which nothing need be imported.
    """
    command = app
    for word in arguments:
        # An option is a command to cyclopts where it is `--help`.
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
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    # A line for each request, migration context or set of credentials would bury the rest.
    for name in ("httpx", "alembic", "botocore", "boto3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    # Its errors are panels, of which `soft_wrap` would cut off what is too wide.
    usage = Console(stderr=True, highlight=False)
    try:
        wants_help = not {"--help", "-h"}.isdisjoint(arguments)
        if arguments and arguments[0] not in _ON_THEIR_OWN and not wants_help:
            # Before the command's module is imported: Prefect reads its settings once.
            use_local_stack()
        _refuse_missing_extra(arguments)
        explain(arguments)
        result = app(
            arguments, exit_on_error=False, error_console=usage, result_action="return_value"
        )
    except CycloptsError:
        return USAGE
    except IttybatchError as error:
        errors.print("error:", style="bold red", end=" ")
        errors.print(str(error), markup=False)
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read has read enough, such as `head`. Python would flush once more, and fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNREAD
    return result if isinstance(result, int) else SUCCEEDED
