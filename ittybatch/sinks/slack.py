"""The sink that is a Slack channel: messages about jobs that failed."""

import time
from collections.abc import Sequence
from typing import Final, Literal

import orjson
from pydantic import Field, field_validator

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import without_secrets
from ittybatch.sinks.base import ENDED, Outcome, Result, SinkUnavailable
from ittybatch.sinks.environment import require_reference, resolve
from ittybatch.sinks.options import SinkOptions
from ittybatch.sinks.posting import Posted, Poster, check_address

EndStatus = Literal["succeeded", "failed", "cancelled", "expired"]

_LINES: Final = 20
_MAX_LINE: Final = 300
_MAX_TEXT: Final = 3900
# Slack takes about one message a second for each webhook.
_PAUSE_S: Final = 1.0
_TIMEOUT_S: Final = 10.0
# The only refusals that concern the message; others concern the channel or the webhook.
_BAD_MESSAGE = frozenset({"invalid_payload", "no_text", "too_many_attachments"})


class SlackOptions(SinkOptions):
    """A channel that hears of jobs that failed."""

    kind: Literal["slack"] = Field(description="Messages to a Slack channel.")
    url: str = Field(
        description="The incoming webhook's URL, which is a secret: a reference to an environment "
        "variable, such as ${SLACK_WEBHOOK_URL}."
    )
    statuses: tuple[EndStatus, ...] = Field(
        ("failed", "expired"), min_length=1, description="The jobs to report, by how they ended."
    )

    @field_validator("url")
    @classmethod
    def _not_here(cls, url: str) -> str:
        return require_reference(url)

    def wants(self, result: Result) -> bool:
        """Whether a result is to be reported."""
        chosen = result.event == ENDED and result.status in self.statuses
        return chosen and super().wants(result)

    def open(self) -> "SlackSink":
        """Make the sink. It connects when it is used."""
        return SlackSink(self)


class SlackSink:
    """Writes one message for each group of results, so a bad night is not a flood."""

    wants_raw = False

    def __init__(self, options: SlackOptions) -> None:
        self._options = options
        self._poster: Poster | None = None
        self._next_at = 0.0

    @property
    def name(self) -> str:
        """Its name in `results.yaml`."""
        return self._options.name

    def deliver(self, results: Sequence[Result]) -> Sequence[Outcome]:
        """Write a message about the results that are to be reported.

        Raises:
            SinkUnavailable: Slack does not take it now, or the webhook does not exist any more.
        """
        wanted = [result for result in results if self._options.wants(result)]
        refusal = None
        if wanted:
            posted = self._post(message(wanted))
            if posted.refused and posted.detail in _BAD_MESSAGE:
                refusal = posted.describe()
            elif not posted.delivered:
                raise self._unavailable(posted)
        chosen = {result.outbox_id for result in wanted}
        return [
            Outcome(result.outbox_id, refusal if result.outbox_id in chosen else None)
            for result in results
        ]

    def check(self) -> str | None:
        """Say whether the URL is set. Anything more would write a message."""
        try:
            self._open()
        except IttybatchError as error:
            return str(error)
        return None

    def close(self) -> None:
        """Close connections."""
        poster, self._poster = self._poster, None
        if poster is not None:
            poster.close()

    def _post(self, text: str) -> Posted:
        poster = self._open()
        poster.require_ready()
        time.sleep(max(0.0, self._next_at - time.monotonic()))
        answers: list[Posted] = []

        async def post() -> None:
            answers.append(await poster.post(orjson.dumps({"text": text}), {}))

        poster.run([post])
        self._next_at = time.monotonic() + _PAUSE_S
        return answers[0]

    def _open(self) -> Poster:
        if self._poster is None:
            try:
                self._poster = self._connect()
            except IttybatchError as error:
                raise SinkUnavailable(error.message, remedy=error.remedy) from None
        return self._poster

    def _connect(self) -> Poster:
        url = resolve(self._options.url, self.name)
        try:
            check_address(url)
        except ValueError as error:
            raise SinkUnavailable(
                f"The `url` of the sink {self.name!r} is not an address: {error}.",
                remedy="Copy the incoming webhook's URL from Slack into the variable.",
            ) from None
        return Poster(url, headers={}, timeout_s=_TIMEOUT_S, concurrency=1, hidden=(url,))

    def _unavailable(self, posted: Posted) -> SinkUnavailable:
        return SinkUnavailable(
            f"The sink {self.name!r} cannot write to Slack: {posted.describe()}.",
            remedy="If the webhook or the channel is gone, make another webhook, set its variable "
            "and start the receiver again. The results wait in the ledger.",
        )


def message(results: Sequence[Result]) -> str:
    """Write one message about some results."""
    lines = [_line(result) for result in results[:_LINES]]
    if len(results) > _LINES:
        lines.append(f"… and {len(results) - _LINES:,} more")
    batches = sorted({result.batch_name for result in results})
    of = f" of {_escaped(batches[0])}" if len(batches) == 1 else ""
    jobs = "1 job" if len(results) == 1 else f"{len(results):,} jobs"
    title = f"*{jobs}{of} ended*" if _any_succeeded(results) else f"*{jobs}{of} failed*"
    return "\n".join([title, *lines])[:_MAX_TEXT]


def _any_succeeded(results: Sequence[Result]) -> bool:
    return any(result.status == "succeeded" for result in results)


def _line(result: Result) -> str:
    what = f"{result.rendition} of {result.input_shown}"
    ended = result.output_url if result.status == "succeeded" else result.error
    text = f"• {result.status}: {what}{f': {ended}' if ended else ''} (job {result.job_id})"
    return _escaped(without_secrets(text)[:_MAX_LINE])


def _escaped(text: str) -> str:
    """Escape what Slack reads as links and mentions: https://docs.slack.dev/messaging."""
    flat = " ".join(text.split())
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
