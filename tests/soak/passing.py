"""A backfill that is slowed, paused, passed by a nightly batch, and killed with all around it.

Each step is taken as an operator takes it, by command, and measured on the other side of the
wire: what Ittybit has accepted, not what the ledger says that it was sent.
"""

import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, select

from ittybatch.ledger.models import Chunk
from ittybatch.ledger.queries import batch_of_run
from ittybatch.ledger.states import BatchState, ChunkState
from tests.end_to_end.system import System
from tests.end_to_end.waiting import until
from tests.soak.begin import trying
from tests.soak.gauge import HEEDED_WITHIN_S, Gauge
from tests.soak.killing import Killer
from tests.soak.library import write_manifest, write_profile
from tests.soak.plan import Kill, Part
from tests.soak.reports import compare
from tests.soak.run import quieten
from tests.soak.sizes import Sizes
from tests.soak.story import Story
from tests.soak.verdict import judge

_DEADLINE_S = 900.0
_BEGINS_WITHIN_S = 180.0
_WINDOW_S = 4.0
_MUCH = 4
_LARGE = 20_000
_STILL_S = 10.0
_SERVICES = {
    Part.RECEIVER: "receiver",
    Part.SERVER: "prefect-server",
    Part.WORKER_AND_RUNS: "worker",
    Part.DATABASE: "postgres",
}


class Passing:
    """Takes a backfill through everything, step by step.

    Args:
        system: The running system; its sandbox is an instant one.
        sizes: How large everything is.
        folder: Where manifests, profile and reports are written.
        tell: Told of each step and its figures.
    """

    def __init__(
        self, system: System, sizes: Sizes, folder: Path, tell: Callable[[str], None]
    ) -> None:
        self._system = system
        self._sizes = sizes
        self._folder = folder
        self._tell = tell
        self._began = time.monotonic()
        self._gauge = Gauge(system.wire)
        self._killer = Killer(system.stack, seed=0)
        self._profile = folder / "soak.yaml"
        self._before = system.wire.summary()
        self.story = Story(tell)

    def go_through(self, *, end_within_s: float) -> Story:
        """Take every step, then compare both sides.

        Raises:
            AssertionError: something that is waited for does not come; the steps after it
                would mean nothing.
        """
        write_profile(self._profile, _DEADLINE_S)
        backfill, flow_run, jobs = self._begin(
            "backfill", self._sizes.jobs, "--chunk-size", str(self._sizes.chunk_items)
        )
        self._slow(backfill)
        self._pause(backfill)
        nightly = self._be_passed(backfill)
        self._restart_everything(backfill)
        self._see_end(backfill, end_within_s)
        self._ask_around(backfill)
        for name, batch, run, planned in (("backfill", backfill, flow_run, jobs), nightly):
            quieten(self._system, [batch])
            self._compare(name, batch, run, planned)
        return self.story

    def _begin(self, name: str, jobs: int, *options: str) -> tuple[str, str, int]:
        """Start a deployment over a manifest; gives batch, flow run and the jobs planned."""
        manifest = self._folder / f"{name}.csv"
        planned = write_manifest(manifest, jobs, of=name)
        began = time.monotonic()
        chosen = ("--profile", str(self._profile), "--name", name, "--deployment", name)
        flow_run = self._system.told("run", str(manifest), *chosen, *options, "--json")
        run = str(flow_run["flow_run_id"])
        batch = until(
            lambda: trying(lambda: self._system.ledger.read(batch_of_run, run)),
            f"the {name}'s flow run has begun a batch",
            within_s=_BEGINS_WITHIN_S,
        )
        until(
            lambda: self._system.status(batch).state is BatchState.RUNNING,
            f"the {name} is planned",
            within_s=_BEGINS_WITHIN_S,
        )
        self.story.note(f"{name} planned after", f"{time.monotonic() - began:.1f} s")
        return batch, run, planned

    def _slow(self, backfill: str) -> None:
        """Slow it while it sends as fast as it can, then let it go faster again."""
        self._gauge.until(lambda rate: rate >= _MUCH * self._sizes.slow_per_s, "at full speed")
        before = self._gauge.rate(over_s=5)
        self.story.note("accepted a second, unbraked", f"{before:.1f}")
        self._go_at(backfill, _MUCH * self._sizes.slow_per_s)
        # Fewer chunks at a time than are at Ittybit now: those have to share the rate, too.
        self._go_at(backfill, self._sizes.slow_per_s, "--max-active-chunks", "2")
        self._go_at(backfill, _MUCH * self._sizes.slow_per_s, "--max-active-chunks", "8")

    def _go_at(self, backfill: str, asked: float, *others: str) -> None:
        """Tune it, and see that as much is sent as was asked for, soon and for a while."""
        self._run("tune", backfill, "--submit-per-s", f"{asked:g}", *others)
        heeded_s = self._gauge.until(lambda rate: 0.6 * asked <= rate <= 1.15 * asked, "tuned")
        rates = [self._gauge.rate(over_s=_WINDOW_S) for _ in range(6)]
        mean, most = sum(rates) / len(rates), max(rates)
        self.story.note(
            f"accepted a second, tuned to {asked:g}", f"{mean:.1f} (at most {most:.1f})"
        )
        self.story.note(f"at {asked:g} a second after", f"{heeded_s:.1f} s")
        # A new chunk takes its share at once, the others learn of it within seconds.
        self.story.expect(
            most <= 1.5 * asked, f"tuned to {asked:g} jobs a second, it sent {most:.1f}"
        )
        self.story.expect(mean <= 1.15 * asked, f"tuned to {asked:g} a second, it sent {mean:.1f}")

    def _pause(self, backfill: str) -> None:
        """Hold it while it sends, and see that nothing more is sent; then let it go on."""
        self._gauge.until(lambda rate: rate >= self._sizes.slow_per_s, "sending")
        at = self._gauge.accepted
        self._run("pause", backfill)
        still_after_s = self._gauge.until_still(_STILL_S)
        self.story.note("sent from the pause's asking on", f"{self._gauge.accepted - at:,}")
        self.story.note("stood still after", f"{still_after_s:.1f} s")
        self.story.note("not sent of the chunks under way", f"{self._unsent(backfill):,}")
        state = self._system.status(backfill).state
        self.story.expect(state is BatchState.HELD, f"a paused batch is {state}")
        rate = self._gauge.rate(over_s=5)
        self.story.expect(rate == 0, f"paused, it sends {rate:.1f} jobs a second")

        self._run("tune", backfill, "--submit-per-s", "0")
        self._run("resume", backfill)
        heeded_s = self._gauge.until(lambda rate: rate > 0, "going on")
        self.story.note("went on after", f"{heeded_s:.1f} s")

    def _unsent(self, batch: str) -> int:
        """Jobs that are still to be sent of the chunks that were released."""
        released = select(func.coalesce(func.sum(Chunk.planned), 0)).where(
            Chunk.batch_id == batch, Chunk.state == ChunkState.RELEASED.value
        )
        return int(self._system.ledger.read(lambda tx: tx.execute(released).scalar_one()))

    def _be_passed(self, backfill: str) -> tuple[str, str, str, int]:
        """Start a nightly batch beside it, which has to end long before."""
        self._gauge.until(lambda rate: rate >= _MUCH * self._sizes.slow_per_s, "at full speed")
        left_before = self._left(backfill)
        began = time.monotonic()
        nightly, run, planned = self._begin("nightly", self._sizes.nightly_jobs)
        left_planned = self._left(backfill)
        until(
            lambda: self._system.status(nightly).counts["planned"] < planned,
            "the nightly batch's first jobs are sent",
            within_s=300,
        )
        ahead = left_planned - self._left(backfill)
        self._system.await_end(nightly, within_s=300)
        self.story.note("nightly ended after", f"{time.monotonic() - began:.1f} s")
        left = self._left(backfill)
        self.story.note("backfill's jobs left before it, and after", f"{left_before:,}, {left:,}")
        self.story.note("of the backfill's jobs went before its first", f"{ahead:,}")
        self.story.expect(
            ahead <= self._sizes.room,
            f"{ahead:,} jobs of the backfill went before the nightly batch's first: more than "
            f"the {self._sizes.room:,} that had their room already",
        )
        # A small backfill may have little left after the minute that any batch takes.
        most = left_before / 2 if self._sizes.jobs >= _LARGE else 0
        self.story.expect(
            left > most,
            f"of {left_before:,} jobs that the backfill had left, {left:,} were left when the "
            "nightly batch had ended: it was not passed",
        )
        return "nightly", nightly, run, planned

    def _restart_everything(self, backfill: str) -> None:
        """Kill whatever there is but Ittybit; the supervisor brings it up again."""
        some = self._sizes.nightly_jobs // 3
        parts = [
            part
            for part, service in _SERVICES.items()
            if part is not Part.DATABASE or self._has(service)
        ]
        counts = until(
            lambda: (
                counts
                if (counts := self._system.status(backfill).counts)["in_flight"] >= some
                else None
            ),
            f"{some} jobs are in flight",
            within_s=HEEDED_WITHIN_S,
            every_s=0.02,
        )
        for part in parts:
            assert self._killer.carry_out(Kill(0, part)), f"the {part} was not running"
        killed = time.monotonic()
        self._tell(f"SIGKILL for {', '.join(parts)}, with {counts['in_flight']} jobs in flight")
        until(
            lambda: trying(lambda: self._system.prefect.interval("reconcile")),
            "Prefect's server is back",
            within_s=300,
            every_s=0.5,
        )
        for part in parts:
            self._system.stack.await_ready(_SERVICES[part])
        self.story.note("everything is up again after", f"{time.monotonic() - killed:.1f} s")
        at = self._gauge.accepted
        until(lambda: self._gauge.accepted > at, "jobs are sent again", within_s=300)
        self.story.note("jobs are sent again after", f"{time.monotonic() - killed:.1f} s")

    def _has(self, service: str) -> bool:
        return bool(trying(lambda: self._system.stack.pid(service)))

    def _see_end(self, backfill: str, within_s: float) -> None:
        """Let it end by itself."""
        deadline = time.monotonic() + within_s
        told_at = time.monotonic()
        while True:
            status = trying(lambda: self._system.status(backfill))
            if status and status.state.ended and not status.counts["in_flight"]:
                break
            assert time.monotonic() < deadline, f"the backfill has not ended: {status}"
            if status and time.monotonic() - told_at > 20:
                told_at = time.monotonic()
                self._tell(f"{status.state}: {_told(status.counts)}")
            time.sleep(1)
        ended = self._system.await_end(backfill, within_s=180)
        self.story.note("backfill ended after", f"{time.monotonic() - self._began:.0f} s in all")
        self.story.note("its jobs", _told(ended.counts))

    def _ask_around(self, backfill: str) -> None:
        """Time what an operator asks for, and keep its answers."""
        self.story.note("`ittybatch --version`, to compare", f"{self._run('--version'):.1f} s")
        for arguments in (("status",), ("status", backfill), ("failures", backfill)):
            told = " ".join(arguments).replace(backfill, "latest")
            self.story.note(f"`ittybatch {told}`", f"{self._run(*arguments):.1f} s")
        for form in ("json", "csv", "html", "parquet"):
            took_s = self._run("report", backfill, "-o", str(self._folder / f"backfill.{form}"))
            self.story.note(f"`ittybatch report` as {form}", f"{took_s:.1f} s")
        self._run("report", self._system.newest(str(self._folder / "nightly.csv")))

    def _compare(self, name: str, batch: str, flow_run: str, planned: int) -> None:
        """Hold ledger, report, Prefect and the other side of the wire against each other."""
        verdict = judge(self._system, batch, flow_run, planned, self._before)
        self.story.wrong += [f"{name}: {line}" for line in verdict.told()]
        try:
            self._system.assert_both_sides_agree(batch)
        except AssertionError:
            self.story.wrong.append(f"{name}: the ledger's attempts are not those accepted")
        self.story.note(
            f"{name}: planned, accepted, lost, doubled",
            f"{planned:,}, {verdict.attempts:,}, {len(verdict.lost)}, {len(verdict.doubled)}",
        )
        rows = self._system.jobs(batch)
        for form in ("json", "csv"):
            path = self._folder / f"{name}.report.{form}"
            self._run("report", batch, "-o", str(path))
            told, differences = compare(path, rows)
            self.story.note(f"{name}: jobs in the report as {form}", f"{told:,}")
            self.story.expect(
                not differences, f"{name}: {differences} jobs differ in the report as {form}"
            )

    def _left(self, batch: str) -> int:
        counts = self._system.status(batch).counts
        return counts["planned"] + counts["in_flight"]

    def _run(self, *arguments: str) -> float:
        """Run a command as an operator does; gives the seconds it took."""
        began = time.monotonic()
        done = self._system.command(*arguments)
        took_s = time.monotonic() - began
        assert done.returncode == 0, f"ittybatch {' '.join(arguments)}: {done.stderr}"
        return took_s


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
