"""What the page of new jobs needs: the intake, what is declared, and sealed forms."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request

from ittybatch.intake.declared import Declared
from ittybatch.intake.live_profiles import LiveProfiles
from ittybatch.intake.loops import refuse_loops
from ittybatch.intake.objects import Objects
from ittybatch.intake.orders import Orders
from ittybatch.intake.upload_request import Announced
from ittybatch.intake.uploads import RecallsRequests, Uploads
from ittybatch.intake.wanted import RequestRefused, TaskSpec, Wanted
from ittybatch.ittybit.options import Kind
from ittybatch.ledger.actions import Asker, Via
from ittybatch.ledger.intake import Order
from ittybatch.page.forms import Form
from ittybatch.page.sealing import Seal, page_secret
from ittybatch.profiles import Item, list_profiles
from ittybatch.settings import Settings

KINDS = tuple(kind.value for kind in Kind)
_PROFILE, _KIND = "profile:", "kind:"
_MAX_OPTIONS = 20_000


@dataclass(frozen=True, slots=True)
class Make:
    """What to make of each item: the renditions of a profile, or one kind of job.

    Args:
        profile: Name of the profile; None for a kind.
        kind: The kind; None for a profile.
        options: Options of the kind.
        again: Whether jobs that have ended are made again.
        key: Made with the form, so that sending it twice makes nothing twice.
    """

    profile: str | None
    kind: str | None
    options: Mapping[str, Any]
    again: bool
    key: str

    @property
    def shown(self) -> str:
        """What is made, in words."""
        return f"profile {self.profile}" if self.profile else f"one {self.kind} job"

    @property
    def tasks(self) -> Sequence[TaskSpec]:
        """The job to make without a profile."""
        return () if self.kind is None else (TaskSpec(self.kind, self.options),)

    def of_item(self, item: Item) -> "Make":
        """The same with a key for this object: another one at its address is another request."""
        parts = orjson.dumps([self.key, item.uri, item.fingerprint])
        return replace(self, key=hashlib.sha256(parts).hexdigest()[:32])

    def wanted(self, item: Item, asker: Asker | None = None) -> Wanted:
        """The request for one item; the same each time that it is made."""
        # Without the fingerprint, which the store may tell only when a form is sent again. That
        # of the object that was shown is in the key.
        body = orjson.dumps([item.uri, self.to_store()])
        return Wanted(
            item,
            profile=self.profile,
            tasks=self.tasks,
            again=self.again,
            idempotency_key=f"page {self.key}",
            body_digest=hashlib.sha256(body).hexdigest(),
            asker=asker,
            is_identified=True,
        )

    def announced(self, name: str, content_type: str, size_bytes: int) -> Announced:
        """The announcement of a file that is to be uploaded."""
        return Announced(name, content_type, size_bytes, self.profile, self.tasks, again=self.again)

    def token(self, number: int) -> str:
        """The random part of an upload's key: the same each time that the file is sent."""
        return hashlib.sha256(f"{self.key}:{number}".encode()).hexdigest()[:32]

    def to_store(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "profile": self.profile,
            "kind": self.kind,
            "options": dict(self.options),
            "again": self.again,
            "key": self.key,
        }

    @classmethod
    def from_store(cls, content: Mapping[str, Any]) -> "Make":
        """From what `to_store` has returned."""
        return cls(**{name: content[name] for name in cls.__dataclass_fields__})

    @classmethod
    def from_form(cls, form: Form) -> "Make":
        """Read the fields `make`, `options` and `again` of a form.

        Raises:
            RequestRefused: One of them cannot be used.
        """
        made = form.text("make")
        profile = made.removeprefix(_PROFILE) if made.startswith(_PROFILE) else None
        kind = made.removeprefix(_KIND) if made.startswith(_KIND) else None
        if not (profile or kind):
            raise _refused("make", "What to make is not chosen.", "Choose a profile or a kind.")
        options = _options_of(form.text("options")) if kind else {}
        return cls(profile, kind, options, form.is_on("again"), secrets.token_hex(16))


def _options_of(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        found = orjson.loads(text[:_MAX_OPTIONS])
    except orjson.JSONDecodeError as error:
        raise _refused(
            "options", f"The options are not JSON: {error}.", 'Write them like {"width": 1280}.'
        ) from None
    if not isinstance(found, dict):
        raise _refused(
            "options", "The options are not a JSON object.", 'Write them like {"width": 1280}.'
        )
    try:
        orjson.dumps(found)
    except orjson.JSONEncodeError:  # parsing allows more levels than writing
        raise _refused(
            "options", "The options are nested too deeply.", "Send flatter values."
        ) from None
    return found


def _refused(field: str, message: str, remedy: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, field, message, remedy)


class Making:
    """The parts that views of the page of new jobs share.

    Args:
        settings: The folder of profiles, the limits, the secrets.
        intake: Takes what is confirmed.
        declared: What `intake.yaml` declares.
    """

    def __init__(self, settings: Settings, intake: RecallsRequests, declared: Declared) -> None:
        self._settings = settings
        self._watched = [each.uri for each in declared.buckets]
        self._orders = Orders(
            LiveProfiles(settings.profiles_dir),
            declared.options,
            allow_private=settings.allow_private_urls,
        )
        secret = page_secret(settings)
        self.intake = intake
        self.objects = Objects(declared)
        self.seal = Seal(secret)
        self.declared = declared.uploads
        self._uploads = None
        if declared.uploads is not None:
            self._uploads = Uploads(declared.uploads, intake, self._orders, secret)

    @staticmethod
    def of(request: Request) -> "Making":
        """The parts, for a request of the page."""
        making: Making = request.app.state.making
        return making

    @property
    def uploads(self) -> Uploads:
        """Uploads of the declared bucket.

        Raises:
            RequestRefused: None is declared.
        """
        if self._uploads is None:
            raise RequestRefused(
                HTTPStatus.NOT_FOUND,
                "uploads",
                "Uploads are not declared.",
                "Add an `uploads` section with `bucket` and `profile` to deployments/intake.yaml, "
                "and start the receiver again.",
            )
        return self._uploads

    def profiles(self) -> list[str]:
        """The names of the profiles."""
        return list_profiles(self._settings.profiles_dir)

    def order(self, make: Make, item: Item) -> Order:
        """Make the order of an item, without taking it.

        Raises:
            RequestRefused: Something is wrong with it.
        """
        order = self._orders.order(replace(make.wanted(item), idempotency_key=None))
        refuse_loops(order.planned.item, order.planned.jobs, self._watched)
        return order


def asker_of(request: Request) -> Asker:
    """Who asks, for the record."""
    return Asker(request.state.viewer.name, Via.PAGE)
