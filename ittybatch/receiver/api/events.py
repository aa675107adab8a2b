"""Answers an event that was posted to `/process`: of a bucket, or of a table."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from ittybatch.intake.declared import Declared
from ittybatch.intake.events import WITHOUT_RENDITION, EventResult, wanted_of
from ittybatch.intake.taken import Taken
from ittybatch.intake.wanted import MayBeTaken, NothingToMake, RequestRefused, Wanted
from ittybatch.ledger.database import LedgerUnavailable
from ittybatch.receiver.api.answers import answer_of
from ittybatch.receiver.api.errors import answer_json
from ittybatch.receiver.api.taking import TakesRequests

logger = logging.getLogger(__name__)

_MAX_LOGGED = 5


class Events:
    """Takes what an event asks for.

    Args:
        intake: Takes requests into the ledger and sends their jobs.
        declared: Which objects and rows get which jobs.
    """

    def __init__(self, intake: TakesRequests, declared: Declared) -> None:
        self._intake = intake
        self._declared = declared

    async def answer(self, content: dict[str, Any]) -> Response:
        """Take an event's objects and rows; returns once the ledger holds them.

        The sender of an event cannot use Ittybit's ids, so their answers are not waited for.

        Args:
            content: The event.

        Raises:
            RequestRefused: Nothing in it can be taken.
            MayBeTaken: A part of it was taken, or may have been. Repeating the event makes
                nothing twice.
            LedgerUnavailable: Nothing was taken.
        """
        try:
            found = wanted_of(content, self._declared)
        except RequestRefused as error:
            logger.warning("Refused a row: %s", error)
            raise
        if found.unreadable:
            shown = "; ".join(found.unreadable[:_MAX_LOGGED])
            logger.warning("%d events cannot be read: %s", len(found.unreadable), shown)
        outcomes = await asyncio.gather(*map(self._take, found.wanted))
        taken = [each for each in outcomes if isinstance(each, Taken)]
        _refuse_unavailable(outcomes, len(taken))
        refused = [each for each in outcomes if isinstance(each, RequestRefused)]
        without = [each for each in refused if isinstance(each, NothingToMake)]
        refused = [each for each in refused if each not in without]
        left_out = dict(found.left_out) | ({WITHOUT_RENDITION: len(without)} if without else {})
        if refused and not taken:
            raise refused[0]
        if found.unreadable and not taken:
            raise RequestRefused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "body",
                f"The event cannot be read: {found.unreadable[0]}",
                "Correct what the sender posts. Nothing was taken.",
            )
        return _answer(found, taken, refused, left_out)

    async def _take(self, wanted: Wanted) -> Taken | RequestRefused | LedgerUnavailable:
        try:
            return await self._intake.take(wanted, answer_within_s=0)
        except (NothingToMake, LedgerUnavailable) as error:
            return error
        except RequestRefused as error:
            logger.warning("Refused %s of an event: %s", wanted.item.shown, error)
            return error


def _refuse_unavailable(outcomes: Sequence[object], taken: int) -> None:
    """Raise what the ledger could not take; the others of the same event may be in it."""
    failed = [each for each in outcomes if isinstance(each, LedgerUnavailable)]
    if failed and taken:
        raise MayBeTaken(
            f"Only {taken} of the event's {len(outcomes)} objects {'is' if taken == 1 else 'are'} "
            "known to be taken: the ledger is unavailable, or too slow."
        )
    for each in sorted(failed, key=lambda error: not isinstance(error, MayBeTaken)):
        raise each


def _answer(
    found: EventResult,
    taken: Sequence[Taken],
    refused: Sequence[RequestRefused],
    left_out: Mapping[str, int],
) -> Response:
    if not taken:
        # Not an error: a sender that repeats what is refused would repeat it for ever.
        return answer_json({"status": "ignored", "jobs": [], "left_out": left_out})
    answer = answer_of([job for each in taken for job in each.jobs])
    answer["left_out"] = left_out
    problems = [*found.unreadable, *(f"{each.field}: {each}" for each in refused)]
    if problems:
        answer["refused"] = problems
    return answer_json(answer, HTTPStatus.ACCEPTED)
