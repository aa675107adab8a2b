"""From what a request wants to the jobs that the ledger makes of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import orjson

from ittybatch.engine.options import RunOptions
from ittybatch.errors import ConfigurationError, IttybatchError
from ittybatch.intake.addresses import check_address
from ittybatch.intake.live_profiles import LiveProfiles
from ittybatch.intake.wanted import NothingToMake, RequestRefused, TaskSpec, Wanted
from ittybatch.ittybit.options import InvalidOptions, Kind
from ittybatch.ledger.accepting import IntakeSpec
from ittybatch.ledger.intake import Order
from ittybatch.ledger.plan import PlannedItem
from ittybatch.profiles import Item, JobSpec, Profile, ProfileError, own_job
from ittybatch.profiles.item import S3_SCHEME
from ittybatch.profiles.profile import MAX_RENDITIONS
from ittybatch.profiles.rendition import MAX_PAIRS, check_metadata_name

REQUESTS = "requests"
_MAX_METADATA_BYTES = 16_384
_PLAIN = (Kind.VIDEO, Kind.AUDIO, Kind.IMAGE)


class Orders:
    """Makes orders of requests.

    Args:
        profiles: The profiles, as they are now.
        options: The options of the batches, by profile; that of `requests` is for requests
            without a profile.
        allow_private: Whether URLs of private networks are allowed.
    """

    def __init__(
        self,
        profiles: LiveProfiles,
        options: Mapping[str, RunOptions],
        *,
        allow_private: bool = False,
    ) -> None:
        self._profiles = profiles
        self._allow_private = allow_private
        self._options = {name: to_store(name, each) for name, each in options.items()}
        self._specs: dict[str, tuple[Profile, IntakeSpec]] = {}

    def order(self, wanted: Wanted) -> Order:
        """Make the order of a request.

        Raises:
            RequestRefused: Something is wrong with the request.
        """
        item = wanted.item
        uri = check_address(item.uri, allow_private=self._allow_private)
        if item.fingerprint is not None and item.uri.startswith(S3_SCHEME):
            # The store's own key. People type spaces around an address, but a key may end in one.
            uri = item.uri
        item = replace(item, uri=uri, metadata=_metadata_of(wanted))
        if wanted.profile is not None:
            profile, spec = self._spec(wanted.profile)
            jobs = _jobs_of_profile(item, profile)
        else:
            spec = self._without_profile()
            jobs = _jobs_of_tasks(item, wanted.tasks)
        key, digest = identity_of(wanted)
        return Order(
            spec,
            PlannedItem(item, jobs),
            again=wanted.again,
            key=key,
            digest=digest,
            asker=wanted.asker,
            by_flow_run=wanted.by_flow_run,
        )

    def _spec(self, name: str) -> tuple[Profile, IntakeSpec]:
        try:
            profile = self._profiles.get(name)
        except ProfileError as error:
            raise RequestRefused(
                HTTPStatus.UNPROCESSABLE_ENTITY, "profile", error.message, error.remedy
            ) from error
        known = self._specs.get(name)
        if known is None or known[0] is not profile:
            known = (profile, _spec(name, profile, self._options.get(name, {})))
            self._specs[name] = known
        return known

    def _without_profile(self) -> IntakeSpec:
        known = self._specs.get("")
        if known is None:
            profile = kinds_profile()
            known = (profile, _spec(REQUESTS, profile, self._options.get(REQUESTS, {})))
            self._specs[""] = known
        return known[1]


def identity_of(wanted: Wanted) -> tuple[str | None, str]:
    """The digests of a request's Idempotency-Key, if it has one, and of its body."""
    key = wanted.idempotency_key
    return (
        None if key is None else hashlib.sha256(key.encode()).hexdigest(),
        hashlib.sha256(wanted.body_digest.encode()).hexdigest(),
    )


def kinds_profile() -> Profile:
    """The profile of requests that name their tasks; it lists the kinds that need no options."""
    return Profile.from_mapping(
        {
            "name": REQUESTS,
            "description": "Requests that name the kinds and options of their jobs themselves.",
            "renditions": [{"name": kind.value, "kind": kind.value} for kind in _PLAIN],
        }
    )


# What makes no sense for requests that come one by one.
_NOT_FOR_REQUESTS = (
    "dry_run", "again", "name", "approve_above_jobs", "approve_above_cost", "canary_items",
    "canary_max_failed_percent", "max_active_chunks", "skip_existing",
)  # fmt: skip


def to_store(profile: str, options: RunOptions) -> dict[str, Any]:
    """Convert the options of a batch of requests for the ledger: what was set, as JSON.

    Raises:
        ConfigurationError: One of them makes no sense for requests.
    """
    kept = options.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    if wrong := sorted(kept.keys() & set(_NOT_FOR_REQUESTS)):
        raise ConfigurationError(
            f"The options of profile {profile} for requests cannot have {', '.join(wrong)}.",
            remedy="Remove them: requests are sent at once, one by one.",
        )
    return kept


def _spec(name: str, profile: Profile, options: Mapping[str, Any]) -> IntakeSpec:
    mapping = profile.model_dump(mode="json")
    text = orjson.dumps([name, mapping, options], option=orjson.OPT_SORT_KEYS)
    shown = name if name == REQUESTS else f"{name} {REQUESTS}"
    return IntakeSpec(shown, mapping, options, hashlib.sha256(text).hexdigest()[:32])


def _jobs_of_profile(item: Item, profile: Profile) -> Sequence[JobSpec]:
    try:
        jobs = profile.jobs_for(item)
    except IttybatchError as error:
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY, "url", error.message, error.remedy
        ) from error
    if not jobs:
        raise NothingToMake(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "profile",
            f"Profile {profile.name} makes nothing of {item.shown}: the conditions of its "
            f"{len(profile.renditions)} renditions leave it out. Nothing was made.",
            "Check the file's suffix and size against `when` in the profile, or send `kind` "
            "instead of `profile`.",
        )
    return jobs


def _jobs_of_tasks(item: Item, tasks: Sequence[TaskSpec]) -> Sequence[JobSpec]:
    if not tasks:
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "tasks",
            "The request does not say what to make.",
            'Send "kind" (and "options"), "tasks", or "profile".',
        )
    if len(tasks) > MAX_RENDITIONS:
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "tasks",
            f"The request has {len(tasks)} tasks; the maximum is {MAX_RENDITIONS}.",
            "Send several requests.",
        )
    return [_job_of_task(item, task, place, len(tasks)) for place, task in enumerate(tasks)]


def _job_of_task(item: Item, task: TaskSpec, place: int, of: int) -> JobSpec:
    try:
        return own_job(replace(item, kind=task.kind, options=task.options))
    except InvalidOptions as error:
        first = error.problems[0]
        where = "" if of == 1 else f"tasks[{place}]."
        name = first.field if first.field == "kind" else f"options.{first.field}"
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{where}{name}",
            f"{name} = {first.value}: {first.problem}",
            first.remedy,
        ) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "options",
            "The options are not a JSON object of plain values.",
            'Send an object such as {"width": 1280}.',
        ) from error


def _metadata_of(wanted: Wanted) -> dict[str, Any]:
    """The pairs of the item and of the request.

    Values arrive at Ittybit as they were given, numbers as numbers.
    """
    pairs = {**wanted.item.metadata, **wanted.metadata}
    try:
        for name in pairs:
            check_metadata_name(name)
        size = len(orjson.dumps(pairs))
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "metadata",
            f"The metadata cannot be used: {error}.",
            "Use names of letters, digits, _, - and ., and plain JSON values.",
        ) from error
    if len(pairs) > MAX_PAIRS or size > _MAX_METADATA_BYTES:
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "metadata",
            f"The metadata has {len(pairs)} pairs in {size} bytes; the maximum is {MAX_PAIRS} "
            f"pairs in {_MAX_METADATA_BYTES} bytes.",
            "Send an id, and keep the rest in your own database.",
        )
    return pairs
