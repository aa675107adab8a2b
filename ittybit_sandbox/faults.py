"""Injects faults, so that tests can prove that a client survives them.

A file of faults is YAML or JSON, with every section optional:

    seed: 7
    api:                                    # per request, after authentication
      rate_limited: {probability: 0.05, retry_after_s: 1}   # 429 with Retry-After
      server_error: {probability: 0.02, status: 503}        # nothing was accepted
      cut_after_accept: {probability: 0.01}  # the job is created, the response is cut
      slow: {probability: 0.02, seconds: 3}
    webhooks:                               # per webhook
      duplicated: {probability: 0.05}
      delayed: {probability: 0.05, seconds: 10}
      reordered: {probability: 0.05}         # held back until a later one is sent
      lost: {probability: 0.01}              # never sent, however often it is retried
      wrongly_signed: {probability: 0.01}    # per attempt, so a retry may be valid
      forged: {probability: 0.01}            # a forged one comes first, with the opposite outcome
    jobs:                                   # the first rule that matches decides
      - match: {kind: video, input: "*preempt*", metadata: {ittybatch_rendition: hd}}
        action: fail_once                    # or fail_always, or hang
        probability: 1
        error: {kind: internal_error, message: encoder was preempted}

Each decision is a hash of the seed, the subject (the Idempotency-Key, or the job's input, kind and
options) and the fault. It does not depend on the order of requests, so the same batch meets the
same faults in every run.
"""

import hashlib
from collections import Counter
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ittybit_sandbox.errors import ConfigurationError
from ittybit_sandbox.jobs import Job
from ittybit_sandbox.vocabulary import ErrorKind, Kind

_HASH_SPAN: Final = float(2**64)
_MAX_FILE_BYTES: Final = 1_048_576

Probability = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Chance(_Model):
    """A fault and its probability."""

    probability: Probability = 0


class RateLimited(Chance):
    """A response of 429."""

    retry_after_s: Seconds = 1


class ServerError(Chance):
    """A response of 5xx; the request has no effect."""

    status: Annotated[int, Field(ge=500, le=599)] = 503


class Delayed(Chance):
    """A delay."""

    seconds: Seconds = 5


class ApiFaults(_Model):
    """Faults of API requests."""

    rate_limited: RateLimited = RateLimited()
    server_error: ServerError = ServerError()
    cut_after_accept: Chance = Chance()
    slow: Delayed = Delayed()


class WebhookFaults(_Model):
    """Faults of webhooks."""

    duplicated: Chance = Chance()
    delayed: Delayed = Delayed()
    reordered: Chance = Chance()
    lost: Chance = Chance()
    wrongly_signed: Chance = Chance()
    forged: Chance = Chance()


class JobAction(StrEnum):
    """What a rule does to a job."""

    FAIL_ONCE = "fail_once"
    FAIL_ALWAYS = "fail_always"
    HANG = "hang"


class JobMatch(_Model):
    """Selects the jobs of a rule; an omitted field matches every job."""

    kind: Kind | None = None
    input: str | None = Field(None, description="A glob over the whole URL.")
    metadata: dict[str, object] = Field(default_factory=dict)

    def matches(self, job: Job) -> bool:
        """Return whether the rule applies to a job."""
        request = job.request
        return (
            (self.kind is None or request.kind is self.kind)
            and (self.input is None or fnmatchcase(request.input, self.input))
            and all(request.metadata.get(key) == value for key, value in self.metadata.items())
        )


class FaultError(_Model):
    """The error of a job that fails on purpose."""

    kind: str = ErrorKind.INTERNAL_ERROR
    message: str = "encoder was preempted"


class JobRule(_Model):
    """One rule about jobs."""

    match: JobMatch = JobMatch()
    action: JobAction
    probability: Probability = 1
    error: FaultError = FaultError()


class Faults(_Model):
    """The content of a file of faults."""

    seed: int | None = Field(None, description="Overrides the sandbox's seed.")
    api: ApiFaults = ApiFaults()
    webhooks: WebhookFaults = WebhookFaults()
    jobs: tuple[JobRule, ...] = ()


def parse_faults(text: str | bytes, origin: str) -> Faults:
    """Read faults from YAML or JSON.

    Raises:
        ConfigurationError: The text is neither, or does not describe faults.
    """
    remedy = "See the format with: pydoc ittybit_sandbox.faults"
    try:
        return Faults.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{origin} is not YAML or JSON: {error}", remedy=remedy) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise ConfigurationError(f"{origin}: {where}: {first['msg']}", remedy=remedy) from None


def load_faults(path: Path) -> Faults:
    """Read a file of faults.

    Raises:
        ConfigurationError: The file cannot be read or parsed.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot read the faults in {path}: {error.strerror}.", remedy="Check the path."
        ) from None
    return parse_faults(text, str(path))


class FaultPlan:
    """Decides which faults happen; they can be replaced at any time.

    Args:
        faults: The faults and their probabilities.
        seed: Used if the faults have no seed.
    """

    def __init__(self, faults: Faults, seed: int) -> None:
        self._own_seed = seed
        self.replace(faults)

    def replace(self, faults: Faults) -> None:
        """Replace the faults."""
        self.faults = faults
        self._seed = self._own_seed if faults.seed is None else faults.seed
        self._visits: Counter[str] = Counter()
        self.api_active = faults.api != ApiFaults()
        self.webhooks_active = faults.webhooks != WebhookFaults()

    def visit(self, identity: str) -> str:
        """Number the requests of a subject, so that each retry is decided anew."""
        self._visits[identity] += 1
        return f"{identity}#{self._visits[identity]}"

    def strikes(self, chance: Chance, what: str, identity: str) -> bool:
        """Return whether a fault happens to a subject."""
        if chance.probability <= 0:
            return False
        text = f"{self._seed}|{what}|{identity}".encode()
        digest = hashlib.blake2b(text, digest_size=8).digest()
        return int.from_bytes(digest, "big") / _HASH_SPAN < chance.probability

    def rule_for(self, job: Job) -> JobRule | None:
        """Return the rule that makes a job fail or hang this time, or None."""
        for number, rule in enumerate(self.faults.jobs):
            chance = Chance(probability=rule.probability)
            if not rule.match.matches(job) or not self.strikes(
                chance, f"job{number}", job.identity
            ):
                continue
            if rule.action is JobAction.FAIL_ONCE and job.attempt > 1:
                continue
            return rule
        return None
