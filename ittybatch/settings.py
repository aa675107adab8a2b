"""The settings of ittybatch, read from the environment and from `.env`.

The names without a prefix are those of Ittybit's own guides, so a reader of the guides has set
them already.
"""

import csv
import json
import math
import os
import re
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from ittybatch.env_file import export_env_files
from ittybatch.errors import ConfigurationError
from ittybatch.home import sqlite_ledger
from ittybatch.page_settings import PageSettings
from ittybatch.project import (
    CHECKOUT,
    INTAKE_FILE,
    IS_CHECKOUT,
    PROFILES_DIR,
    RESULTS_FILE,
    declared,
)

__all__ = ["CHECKOUT", "ENV_FILES", "PRICED_KINDS", "Settings"]

# A flow run works in a temporary folder, so the checkout's .env counts there, too.
ENV_FILES = (*([CHECKOUT / ".env"] if IS_CHECKOUT else []), Path(".env"))
# Ittybit's kinds, repeated here because settings may not import `ittybit`.
PRICED_KINDS = ("video", "audio", "image", "animation", "adaptive_video")
_PREFIX = "ITTYBATCH_"
_SHORTEST_SECRET = 6
# Ten years.
_LONGEST_SLEEP_S = 10 * 365 * 86_400
# Prefect sets it for the process of a flow run, which works in a temporary folder.
_FLOW_RUN = "PREFECT__FLOW_RUN_ID"
_QUOTES = {'"', "'"}
# URLs that SQLAlchemy can parse, of databases that the ledger has a driver for.
_DATABASE = re.compile(
    r"sqlite(\+pysqlite)?://(/.*)?"
    r"|postgres(ql(\+psycopg)?)?://([^:/]*(:[^@]*)?@)?(\[[^/?]+\]|[^/:?]+)?(:\d*)?([/?].*)?",
    re.DOTALL,
)


def _default_home() -> Path:
    """Keep state in the checkout, or in the current folder where the wheel is installed."""
    return (CHECKOUT if IS_CHECKOUT else Path.cwd()) / ".ittybatch"


def _named(name: str) -> AliasChoices:
    return AliasChoices(name)


class Settings(PageSettings, BaseSettings):
    """One process's settings, read once at its start."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILES,
        env_prefix=_PREFIX,
        extra="ignore",
        populate_by_name=True,
        # An error names the setting, not its value, which may be a password.
        hide_input_in_errors=True,
    )

    api_key: SecretStr | None = Field(None, validation_alias=_named("ITTYBIT_API_KEY"))
    api_url: str = Field("https://api.ittybit.com", validation_alias=_named("ITTYBIT_API_URL"))
    connection_id: str | None = Field(None, validation_alias=_named("ITTYBIT_CONNECTION_ID"))
    webhook_secret: SecretStr | None = Field(
        None,
        validation_alias=_named("ITTYBIT_WEBHOOK_SECRET"),
        description="One secret, or several separated by commas during a rotation. Quotes around a "
        "secret are not part of it. Put a secret that contains a comma in double quotes.",
    )
    webhook_url: str | None = Field(None, validation_alias=_named("WEBHOOK_URL"))
    database_url: SecretStr | None = Field(None, validation_alias=_named("DATABASE_URL"))
    db_idle_transaction_s: float = Field(
        10,
        ge=0.1,
        description="Seconds after which Postgres ends a session that is idle in a transaction, "
        "for example of a lost machine, and releases its locks.",
    )
    db_lock_timeout_s: float = Field(
        5,
        ge=0.1,
        description="Seconds after which a statement stops waiting for a Postgres lock. Its "
        "transaction is retried.",
    )
    db_network_timeout_s: int = Field(
        20,
        ge=2,
        description="Seconds without a packet after which either side closes a Postgres "
        "connection.",
    )
    port: int = Field(8300, validation_alias=_named("PORT"), ge=0, le=65535)

    home: Path = Field(default_factory=_default_home, description="The folder of local state.")
    profiles_dir: Path = Field(default_factory=lambda: declared(PROFILES_DIR))
    allow_unsigned_webhooks: bool = Field(
        default=False, description="Accept unsigned webhooks. For tests only."
    )
    max_body_bytes: int = Field(1_048_576, gt=0, description="The largest webhook body to accept.")
    credentials_block: str | None = Field(
        None,
        max_length=100,
        description="Name of the `ittybit-credentials` block that flow runs take the key from.",
    )
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token of the receiver's /metrics. Without it: loopback only."
    )
    api_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token of the receiver's API. Without it the API is off.",
    )
    allow_private_urls: bool = Field(
        default=False,
        description="Accept requests for URLs of private networks and of this machine.",
    )
    intake_file: Path = Field(
        default_factory=lambda: declared(INTAKE_FILE),
        description="The YAML file that declares which events make which jobs.",
    )
    results_file: Path = Field(
        default_factory=lambda: declared(RESULTS_FILE),
        description="The YAML file that declares the sinks of results.",
    )
    submit_concurrency: int = Field(64, ge=1, le=1024, description="Parallel submissions per leg.")
    submit_rate_per_s: float | None = Field(None, gt=0, description="Submissions a second per leg.")
    max_in_flight: int | None = Field(
        None,
        ge=1,
        description="The most jobs of all batches together that may be at Ittybit or about to be "
        "submitted. A batch waits with its next chunk; higher priority goes first.",
    )
    # Decoded below: pydantic-settings' own error does not name the variable.
    kind_costs: Annotated[dict[str, float], NoDecode] = Field(
        default_factory=dict,
        description='The cost of a job by kind, in your unit: {"video": 0.05, "image": 0.001}.',
    )
    jobs_per_minute: float | None = Field(
        None, gt=0, description="Your account's throughput, for time estimates."
    )
    poll_after_s: float = Field(
        900, gt=0, description="Seconds without a webhook after which a submitted job is polled."
    )
    linger_s: float = Field(
        15,
        ge=0,
        description="The most seconds that a chunk's leg stays awake while its last jobs end. "
        "Waking it again would cost about as much.",
    )
    lease_s: float = Field(
        60, gt=0, description="Seconds without a heartbeat after which a leg counts as dead."
    )
    keep_days: int = Field(
        30,
        ge=1,
        description="Days after a batch's end for which `db tidy` keeps webhook bodies, polled "
        "answers and rejected rows.",
    )

    source_retry_s: float = Field(
        300,
        ge=0,
        description="Seconds to retry a manifest's web server or bucket that answers 429 or 5xx, "
        "or does not answer. After that the batch is held.",
    )
    # Decoded below: pydantic-settings would expect JSON.
    file_dirs: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Folders, separated as in PATH, that manifests and SQLite files may be in and "
        "`report_to` may write to. Empty: any folder.",
    )

    report_to: str | None = Field(
        None,
        description="Where every batch's report is copied to, unless its option `report_to` names "
        "another place: s3://bucket/prefix/, or an absolute path. Set it where workers and "
        "commands run on different machines.",
    )
    dynamodb_table: str | None = Field(
        None, min_length=1, description="DynamoDB table to write each job to as it ends."
    )
    suspend_timeout_s: float = Field(
        30 * 86_400, gt=0, description="Seconds after which Prefect fails a suspended run."
    )

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - any field
        """Read the settings. Values given here override the environment.

        Also exports the `AWS_*` and `PREFECT_*` variables of `.env` to the environment.

        Raises:
            ConfigurationError: A setting cannot be used. The message names its variable.
        """
        export_env_files(ENV_FILES)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _unusable(error) from error
        except SettingsError as error:
            raise ConfigurationError(f"{error}.", remedy="Check the environment.") from error

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_set(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Ignore empty values, so that `PORT=` in a shell undoes the `PORT` of `.env`."""
        return {name: value for name, value in values.items() if value != ""}

    @field_validator("kind_costs", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError('it is not JSON; write it like {"video": 0.05}') from None

    @field_validator("file_dirs", mode="before")
    @classmethod
    def _from_path_list(cls, value: object) -> object:
        if isinstance(value, str):
            return [part for part in value.split(os.pathsep) if part.strip()]
        return value

    @field_validator("file_dirs")
    @classmethod
    def _absolute_dirs(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser().resolve() for path in value)

    @field_validator("kind_costs")
    @classmethod
    def _possible_costs(cls, costs: dict[str, float]) -> dict[str, float]:
        for kind, cost in costs.items():
            if kind not in PRICED_KINDS:
                raise ValueError(f"there is no kind {kind!r}, only {', '.join(PRICED_KINDS)}")
            if cost < 0 or not math.isfinite(cost):
                raise ValueError(f"the cost of {kind!r} is not 0 or more")
        return costs

    @field_validator("report_to")
    @classmethod
    def _of_a_bucket_or_absolute(cls, place: str | None) -> str | None:
        if place and not place.startswith("s3://") and not Path(place).is_absolute():
            raise ValueError("it is neither s3://bucket/prefix/ nor an absolute path")
        return place

    @field_validator("database_url")
    @classmethod
    def _of_a_database(cls, url: SecretStr | None) -> SecretStr | None:
        # The message does not repeat it: it may contain a password.
        if url is not None and not _DATABASE.fullmatch(url.get_secret_value()):
            raise ValueError(
                "it is not the URL of a Postgres or SQLite database; write it like "
                "postgresql://user:password@host:5432/database or sqlite:////path/of/ledger.db"
            )
        return url

    @field_validator("webhook_secret")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        for number, secret in enumerate(_secrets_in(value.get_secret_value() if value else ""), 1):
            if len(secret) < _SHORTEST_SECRET:
                # The message does not repeat it: it may be half of a secret.
                raise ValueError(
                    f"its secret {number} has {len(secret)} characters, and the minimum is "
                    f"{_SHORTEST_SECRET}. A comma separates secrets: put a secret that contains a "
                    "comma in double quotes"
                )
        return value

    @field_validator("api_url", "webhook_url")
    @classmethod
    def _without_trailing_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else None

    @field_validator("home", "profiles_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @cached_property
    def webhook_secrets(self) -> tuple[bytes, ...]:
        """Every secret that may have signed a webhook, the newest first."""
        if self.webhook_secret is None:
            return ()
        return tuple(part.encode() for part in _secrets_in(self.webhook_secret.get_secret_value()))

    @property
    def silence_s(self) -> float:
        """Seconds without a webhook after which a job is polled; few if there is no webhook URL."""
        return self.poll_after_s if self.webhook_url else min(self.poll_after_s, 5.0)

    @property
    def longest_sleep(self) -> timedelta:
        """How long a flow run may be suspended, as far as the calendar goes."""
        return timedelta(seconds=min(self.suspend_timeout_s, _LONGEST_SLEEP_S))

    @property
    def ledger_url(self) -> str:
        """The SQLAlchemy URL of the ledger: `DATABASE_URL`, or SQLite under `home`.

        Raises:
            ConfigurationError: The home has another ledger, which is not reachable now; or this
                is a flow run whose worker has no home.
        """
        if self.database_url is None:
            if not IS_CHECKOUT and "home" not in self.model_fields_set and _FLOW_RUN in os.environ:
                raise ConfigurationError(
                    "This flow run has no ledger, because its worker has neither DATABASE_URL nor "
                    "ITTYBATCH_HOME in its environment. Nothing was submitted.",
                    remedy="Set the one that your commands use, and start the worker again: "
                    "`prefect worker start --pool ittybatch`.",
                )
            return sqlite_ledger(self.home)
        url = self.database_url.get_secret_value()
        for scheme in ("postgres://", "postgresql://"):
            if url.startswith(scheme):
                return "postgresql+psycopg://" + url.removeprefix(scheme)
        return url


def _secrets_in(text: str) -> list[str]:
    """Parse the secrets of a setting, the newest first.

    Docker's `--env-file` keeps quotes that a shell removes. A comma without quotes may separate
    secrets or be part of one, so the whole text counts as a secret, too.
    """
    given = text.strip()
    try:
        fields = next(csv.reader([given], skipinitialspace=True), [])
    except csv.Error:
        fields = given.split(",")
    parts = [_without_quotes(field.strip()) for field in fields]
    if len(parts) > 1 and not _QUOTES.intersection(given):
        parts.append(given)
    return list(dict.fromkeys(filter(None, parts)))


def _without_quotes(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] == "'"
    return text[1:-1] if quoted else text


def _unusable(error: ValidationError) -> ConfigurationError:
    first = error.errors(include_url=False, include_input=False)[0]
    if not first["loc"]:  # of several settings, which the message names
        return ConfigurationError(
            first["msg"].removeprefix("Value error, ") + ".",
            remedy="Correct them in the environment or in .env.",
        )
    name = str(first["loc"][0])
    variable = name if name.isupper() else _PREFIX + name.upper()
    below = "".join(f"[{part!r}]" for part in first["loc"][1:])
    what = first["msg"].removeprefix("Value error, ")
    return ConfigurationError(
        f"{variable}{below} cannot be used: {what[:1].lower()}{what[1:]}.",
        remedy="Correct it in the environment or in .env, or remove it.",
    )
