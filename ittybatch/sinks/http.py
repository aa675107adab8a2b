"""The sink that is an address of the user's own: a signed POST for each result."""

import itertools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from ittybatch.errors import IttybatchError
from ittybatch.ittybit.redaction import has_user
from ittybatch.ittybit.signature import HEADER, check_body, sign
from ittybatch.sinks.base import Outcome, Result, SinkUnavailable
from ittybatch.sinks.environment import has_reference, require_reference, resolve
from ittybatch.sinks.options import SinkOptions
from ittybatch.sinks.payload import Form, body_of
from ittybatch.sinks.posting import Posted, Poster, check_address

# Tells a delivery from others, and is the same when it is delivered again.
DELIVERY_HEADER: Final = "X-Ittybatch-Delivery"
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_RESERVED = frozenset(
    {"host", "content-length", "content-type", HEADER.lower(), DELIVERY_HEADER.lower()}
)
_SHORTEST_SECRET: Final = 6
# A result that the server fails with so often, each time while it takes others, is refused.
_MOST_FAILURES: Final = 10
_MOST_COUNTED: Final = 10_000


class HttpOptions(SinkOptions):
    """An address that gets a signed POST for the result of each job."""

    kind: Literal["http"] = Field(description="A signed POST to your own address.")
    url: str = Field(
        min_length=1,
        max_length=2048,
        description="The address. Private ones are allowed, and redirects are not followed.",
    )
    secret: str = Field(
        description="Key of the signature in `Ittybit-Signature`: a reference to an environment "
        "variable, such as ${RESULTS_SECRET}."
    )
    form: Form = Field(
        "flat",
        description="`flat` as in Ittybit's guide for webhooks; `completed` is the same with the "
        "status `completed`; `envelope` is {event, data}.",
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        max_length=20,
        description="More headers, such as {Authorization: 'Bearer ${TOKEN}'}.",
    )
    timeout_s: float = Field(10, gt=0, le=60, description="Seconds for one request.")
    concurrency: int = Field(16, ge=1, le=64, description="Requests at once.")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not has_reference(url):
            _check_address(url)
        return url

    @field_validator("secret")
    @classmethod
    def _not_here(cls, secret: str) -> str:
        return require_reference(secret)

    @field_validator("headers")
    @classmethod
    def _allowed(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or name.lower() in _RESERVED:
                raise ValueError(f"{name!r} cannot be set as a header")
            if name.lower() in {"authorization", "cookie"} and not has_reference(value):
                raise ValueError(
                    f"the value of {name} is a secret; put it into an environment variable of "
                    "the receiver, and write ${NAME_OF_THE_VARIABLE} here"
                )
            if not value.isprintable():
                raise ValueError(f"the value of {name} has characters that no header may have")
        return headers

    def open(self) -> "HttpSink":
        """Make the sink. It connects when it is used."""
        return HttpSink(self)


@dataclass(frozen=True, slots=True)
class _Connection:
    """What `open` resolved."""

    poster: Poster
    secret: bytes


@dataclass(frozen=True, slots=True)
class _Failed:
    """A result that the server failed with.

    Args:
        count: How often it took others meanwhile.
        turn: Grows from failure to failure.
    """

    count: int
    turn: int


class HttpSink:
    """Posts results to an address, several at once, and those of one job in order."""

    wants_raw = False

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._connection: _Connection | None = None
        self._failures: dict[int, _Failed] = {}
        self._turns = itertools.count()

    @property
    def name(self) -> str:
        """Its name in `results.yaml`."""
        return self._options.name

    def deliver(self, results: Sequence[Result]) -> Sequence[Outcome]:
        """Post results. 2xx is delivered; 400, 413, 415, 422 and others of 4xx are refused.

        401 to 405, 407, 410 and 421 are about the address, 408, 425 and 429 about the moment: they
        count as failures of the server.

        Raises:
            SinkUnavailable: The address took none of the results, and refused none.
        """
        connection = self._open()
        connection.poster.require_ready()
        errors: dict[int, str | None] = {}
        jobs: dict[int, list[Result]] = {}
        for result in results:
            if self._options.wants(result):
                jobs.setdefault(result.job_id, []).append(result)
            else:
                errors[result.outbox_id] = None
        failures: dict[int, Posted] = {}
        unwanted = len(errors)
        # What failed last goes last: it must not end every group before the others' turn.
        ordered = sorted(jobs.values(), key=self._last_turn)
        connection.poster.run([self._chain(each, errors, failures) for each in ordered])
        self._forget_if_many()
        if failures and len(errors) == unwanted:
            for number in failures:
                self._note(number, self._count(number))
            raise self._unavailable(next(iter(failures.values())))
        errors |= self._given_up(failures)
        return [
            Outcome(result.outbox_id, errors[result.outbox_id])
            for result in results
            if result.outbox_id in errors
        ]

    def check(self) -> str | None:
        """Post a signed test; None if the address answers.

        The test contains no job, so a receiver may also refuse it, or fail with it.
        """
        answers: list[Posted] = []
        body = check_body(self.name)

        async def post() -> None:
            answers.append(await connection.poster.post(body, self._signed(body, "check")))

        try:
            connection = self._open()
            connection.poster.run([post])
        except IttybatchError as error:
            return str(error)
        [answer] = answers
        if answer.delivered or answer.refused:
            return None
        if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            return None
        return self._unavailable(answer).message

    def close(self) -> None:
        """Close connections."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.poster.close()

    def _chain(
        self, results: Sequence[Result], errors: dict[int, str | None], failures: dict[int, Posted]
    ) -> Callable[[], Awaitable[None]]:
        """Make a coroutine that posts the results of one job, one after the other."""

        async def chain() -> None:
            for result in results:
                body = body_of(result, self._options.form)
                headers = self._signed(body, str(result.outbox_id))
                posted = await self._open().poster.post(body, headers)
                if posted.delivered or posted.refused:
                    self._failures.pop(result.outbox_id, None)
                    errors[result.outbox_id] = None if posted.delivered else posted.describe()
                else:
                    failures[result.outbox_id] = posted
                    return

        return chain

    def _last_turn(self, results: Sequence[Result]) -> int:
        failed = (self._failures.get(result.outbox_id) for result in results)
        return max((each.turn for each in failed if each is not None), default=-1)

    def _count(self, number: int) -> int:
        failed = self._failures.get(number)
        return 0 if failed is None else failed.count

    def _note(self, number: int, count: int) -> None:
        self._failures[number] = _Failed(count, next(self._turns))

    def _forget_if_many(self) -> None:
        if len(self._failures) > _MOST_COUNTED:
            self._failures.clear()

    def _given_up(self, failures: Mapping[int, Posted]) -> dict[int, str | None]:
        """Count failures of a group of which others were taken; return those that are too many."""
        given_up: dict[int, str | None] = {}
        for number, posted in failures.items():
            count = self._count(number) + posted.may_concern_one
            if count < _MOST_FAILURES:
                self._note(number, count)
            else:
                self._failures.pop(number, None)
                given_up[number] = f"{posted.describe()} ({count} times, while others were taken)"
        return given_up

    def _signed(self, body: bytes, delivery: str) -> dict[str, str]:
        return {HEADER: sign(body, self._open().secret), DELIVERY_HEADER: delivery}

    def _open(self) -> _Connection:
        if self._connection is None:
            try:
                self._connection = self._connect()
            except IttybatchError as error:
                raise SinkUnavailable(error.message, remedy=error.remedy) from None
        return self._connection

    def _connect(self) -> _Connection:
        options = self._options
        url = resolve(options.url, self.name)
        secret = resolve(options.secret, self.name)
        headers = {name: resolve(value, self.name) for name, value in options.headers.items()}
        try:
            _check_address(url)
        except ValueError as error:
            raise SinkUnavailable(
                f"The `url` of the sink {self.name!r} cannot be used: {error}.",
                remedy="Write it like https://app.example.com/webhooks/ittybit.",
            ) from None
        if len(secret) < _SHORTEST_SECRET:
            raise SinkUnavailable(
                f"The `secret` of the sink {self.name!r} has fewer than {_SHORTEST_SECRET} "
                "characters.",
                remedy='Make one: python -c "import secrets; print(secrets.token_hex(32))"',
            )
        hidden = (secret, *headers.values(), *([url] if has_reference(options.url) else ()))
        poster = Poster(
            url,
            headers=headers,
            timeout_s=options.timeout_s,
            concurrency=options.concurrency,
            hidden=hidden,
        )
        return _Connection(poster, secret.encode())

    def _unavailable(self, posted: Posted) -> SinkUnavailable:
        shown = self._options.url if has_reference(self._options.url) else _shown(self._options.url)
        waits = "Its results wait in the ledger and are delivered once it can. To test it: "
        if posted.not_there:
            waits = f"Unless the app is being deployed, check the sink's url and secret. {waits}"
        return SinkUnavailable(
            f"The sink {self.name!r} cannot post to {shown}: {posted.describe()}.",
            remedy=f"{waits}ittybatch doctor",
        )


def _check_address(url: str) -> None:
    check_address(url)
    if has_user(url):
        raise ValueError("it holds a password; use `headers` with ${NAME_OF_THE_VARIABLE}")


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
