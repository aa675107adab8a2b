"""`python -m tests.soak.machines`: the soak on several machines. Exit status 0 if it holds.

Needs root, iproute2, and a C compiler for the clocks.
"""

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import boto3
from rich.console import Console
from rich.table import Table

from tests.end_to_end.system import System
from tests.end_to_end.wire import Wire
from tests.soak.alone import alone
from tests.soak.begin import Begun, begin
from tests.soak.machines import cluster as installation
from tests.soak.machines import network as machines
from tests.soak.machines.cluster import BUCKET, MACHINES, Cluster
from tests.soak.machines.network import Network
from tests.soak.machines.story import Event, random_events, unfold
from tests.soak.plan import Plan
from tests.soak.run import quieten, reconciling
from tests.soak.verdict import Verdict, judge

if TYPE_CHECKING:
    from ittybatch_local import LocalStack

_DEADLINE_S = 60.0
_PER_S = 4.0
_HEALS_S = 30.0
_RECONCILE_EVERY_S = 20.0
_ENDS_WITHIN_S = 1800.0
console = Console()


def main() -> int:
    """Soak once for each seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.machines", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the first soak; a random one if not given")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds in a row (3)")
    parser.add_argument("--cut-s", type=float, default=60, help="seconds that a link is cut (60)")
    asked = parser.parse_args()
    if missing := machines.why_not() or installation.why_not():
        console.print(f"It cannot run here: {missing}.", style="red")
        return 2
    first = asked.seed if asked.seed is not None else secrets.randbelow(1_000_000)
    held = [_soak(seed, asked.cut_s) for seed in range(first, first + asked.seeds)]
    text = "All holds" if all(held) else "IT DOES NOT HOLD"
    console.print(f"{text}: {len(held)} soaks from seed {first}.", style="bold")
    return 0 if all(held) else 1


def _soak(seed: int, cut_s: float) -> bool:
    folder = Path(tempfile.mkdtemp(prefix=f"ittybatch-machines-{seed}-"))
    folder.chmod(0o755)
    console.rule(f"seed {seed}, in {folder}")
    events = random_events(seed)
    plan = Plan(seed, round(len(events) * (cut_s + _HEALS_S) * _PER_S), (), (), _DEADLINE_S)
    with Network(MACHINES) as network, Cluster(network, folder / "home", _tell) as cluster:
        (folder / "home").mkdir()
        with alone(folder, "postgres", cluster.environment()):
            cluster.start_all()
            _s3(cluster).create_bucket(Bucket=BUCKET)
            # It reads the environment and the home of whatever stack it is given.
            system = System(cast("LocalStack", cluster))
            system.wire.close()
            system.wire = Wire(cluster.wire_url)
            try:
                before = system.wire.summary()
                with reconciling(system, _RECONCILE_EVERY_S), system.wire.faults(plan.faults):
                    began = begin(
                        system, plan, folder, of="soak", jobs=plan.jobs, submit_per_s=_PER_S
                    )
                    happening = unfold(
                        events, cluster, network, system, began.id, for_s=cut_s, tell=_tell
                    )
                    healed = list(happening)
                    ended = _await_end(system, began)
                quieten(system, [began.id])
                _fetch_report(cluster, began.id)
                verdict = judge(system, began.id, began.flow_run, began.jobs, before)
            finally:
                system.close()
    _report(seed, healed, verdict, ended=ended)
    holds = verdict.holds and ended and all(took_s is not None for _, took_s in healed)
    if holds:
        shutil.rmtree(folder, ignore_errors=True)
    return holds


def _await_end(system: System, begun: Begun) -> bool:
    try:
        system.await_end(begun.id, within_s=_ENDS_WITHIN_S)
    except AssertionError as error:
        console.print(f"  {error}", style="red", markup=False)
        return False
    return True


def _fetch_report(cluster: Cluster, batch: str) -> None:
    """Get the report from where any machine finds it."""
    here = cluster.home / "batches" / batch
    here.mkdir(parents=True)
    key = f"reports/{batch}/report.json"
    _s3(cluster).download_file(BUCKET, key, str(here / "report.json"))


def _s3(cluster: Cluster):  # type: ignore[no-untyped-def]  # noqa: ANN202  boto3 types it
    given = cluster.environment()
    return boto3.client(
        "s3",
        endpoint_url=given["AWS_ENDPOINT_URL"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        region_name=given["AWS_REGION"],
    )


def _report(
    seed: int, healed: list[tuple[Event, float | None]], verdict: Verdict, *, ended: bool
) -> None:
    table = Table(title=f"seed {seed}", title_justify="left")
    table.add_column("what happened")
    table.add_column("work went on after", justify="right")
    for event, took_s in healed:
        table.add_row(str(event), "never" if took_s is None else f"{took_s:.1f} s")
    table.add_section()
    for state, count in sorted(verdict.states.items()):
        table.add_row(f"jobs {state}", f"{count:,}")
    table.add_row("the batch ended", "yes" if ended else "NO")
    for what in ("lost", "doubled", "wrong"):
        table.add_row(what, str(len(getattr(verdict, what))))
    console.print(table)
    for line in verdict.told():
        console.print(line, style="red", highlight=False, markup=False)


def _tell(line: str) -> None:
    console.print(f"  {time.strftime('%H:%M:%S')} {line}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
