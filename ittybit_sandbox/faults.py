"""Faults on purpose, so that a client can be shown to survive them.

A file of faults, YAML or JSON, with every section optional:

    seed: 7
    api:                                    # of each request, after authentication
      rate_limited: {probability: 0.05, retry_after_s: 1}   # 429 with Retry-After
      server_error: {probability: 0.02, status: 503}        # nothing was accepted
      cut_after_accept: {probability: 0.01}  # the job exists, its answer never arrives whole
      slow: {probability: 0.02, seconds: 3}
    webhooks:                               # of each webhook
      duplicated: {probability: 0.05}
      delayed: {probability: 0.05, seconds: 10}
      reordered: {probability: 0.05}         # held until a later one has gone out
      lost: {probability: 0.01}              # never sent, however often it is retried
      wrongly_signed: {probability: 0.01}    # of each attempt, so a retry may be right
      forged: {probability: 0.01}            # somebody else's comes first, and says the opposite
    jobs:                                   # the first rule that matches decides
      - match: {kind: video, input: "*preempt*", metadata: {ittybatch_rendition: hd}}
        action: fail_once                    # or fail_always, or hang
        probability: 1
        error: {kind: internal_error, message: encoder was preempted}

Every decision is a hash of the seed, of whom it is about (the Idempotency-Key, or the job's
input, kind and options) and of the fault. The order in which requests arrive has no part in
it, so the same batch meets the same faults in every run.
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
    """A fault and how often it strikes."""

    probability: Probability = 0


class RateLimited(Chance):
    """An answer of 429."""

    retry_after_s: Seconds = 1


class ServerError(Chance):
    """An answer of 5xx, before anything was accepted."""

    status: Annotated[int, Field(ge=500, le=599)] = 503


class Delayed(Chance):
    """Something that takes its time."""

    seconds: Seconds = 5


class ApiFaults(_Model):
    """What can happen to a request."""

    rate_limited: RateLimited = RateLimited()
    server_error: ServerError = ServerError()
    cut_after_accept: Chance = Chance()
    slow: Delayed = Delayed()


class WebhookFaults(_Model):
    """What can happen to a webhook."""

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
    """Which jobs a rule is about; what is left out matches all."""

    kind: Kind | None = None
    input: str | None = Field(None, description="A glob over the whole URL.")
    metadata: dict[str, object] = Field(default_factory=dict)

    def admits(self, job: Job) -> bool:
        """Whether a job is meant."""
        request = job.request
        return (
            (self.kind is None or request.kind is self.kind)
            and (self.input is None or fnmatchcase(request.input, self.input))
            and all(request.metadata.get(key) == value for key, value in self.metadata.items())
        )


class FaultError(_Model):
    """The error a failed job reports."""

    kind: str = ErrorKind.INTERNAL_ERROR
    message: str = "encoder was preempted"


class JobRule(_Model):
    """One rule about jobs."""

    match: JobMatch = JobMatch()
    action: JobAction
    probability: Probability = 1
    error: FaultError = FaultError()


class Faults(_Model):
    """A whole file of faults."""

    seed: int | None = Field(None, description="Instead of the sandbox's own.")
    api: ApiFaults = ApiFaults()
    webhooks: WebhookFaults = WebhookFaults()
    jobs: tuple[JobRule, ...] = ()


def parse_faults(text: str | bytes, origin: str) -> Faults:
    """Read faults from YAML or JSON.

    Raises:
        ConfigurationError: It is neither, or says something that is not a fault.
    """
    remedy = "The format is shown in the documentation of ittybit_sandbox.faults."
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
        ConfigurationError: It cannot be read or understood.
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
    """Decides which faults strike; the faults can be replaced while it is in use.

    Args:
        faults: What can strike.
        seed: Used where the faults bring none.
    """

    def __init__(self, faults: Faults, seed: int) -> None:
        self._own_seed = seed
        self.replace(faults)

    def replace(self, faults: Faults) -> None:
        """Go on with other faults."""
        self.faults = faults
        self._seed = self._own_seed if faults.seed is None else faults.seed
        self._visits: Counter[str] = Counter()
        self.api_active = faults.api != ApiFaults()
        self.webhooks_active = faults.webhooks != WebhookFaults()

    def visit(self, identity: str) -> str:
        """Count a request, so that its retry is another throw of the dice."""
        self._visits[identity] += 1
        return f"{identity}#{self._visits[identity]}"

    def strikes(self, chance: Chance, what: str, identity: str) -> bool:
        """Decide whether a fault happens to somebody."""
        if chance.probability <= 0:
            return False
        text = f"{self._seed}|{what}|{identity}".encode()
        digest = hashlib.blake2b(text, digest_size=8).digest()
        return int.from_bytes(digest, "big") / _HASH_SPAN < chance.probability

    def rule_for(self, job: Job) -> JobRule | None:
        """Find the rule that a job falls under, if it is to fail or hang this time."""
        for place, rule in enumerate(self.faults.jobs):
            chance = Chance(probability=rule.probability)
            if not rule.match.admits(job) or not self.strikes(chance, f"job{place}", job.identity):
                continue
            if rule.action is JobAction.FAIL_ONCE and job.attempt > 1:
                continue
            return rule
        return None
