"""What ittybatch reads from the environment and from `.env`.

The names without a prefix are the ones Ittybit's own guides use, so that whoever has
followed a guide has set them already.
"""

import csv
import json
import math
import os
import re
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
from ittybatch.project import CHECKOUT, IS_CHECKOUT, PROFILES_DIR, declared

__all__ = ["CHECKOUT", "ENV_FILES", "PRICED_KINDS", "Settings"]

# A flow run works in a temporary folder, so the checkout's .env counts there, too.
ENV_FILES = (*([CHECKOUT / ".env"] if IS_CHECKOUT else []), Path(".env"))
# Those that Ittybit has; what is a layer above cannot be asked for them.
PRICED_KINDS = ("video", "audio", "image", "animation", "adaptive_video")
_PREFIX = "ITTYBATCH_"
_SHORTEST_SECRET = 6
_QUOTES = {'"', "'"}
# What SQLAlchemy can take apart, and what the ledger has a driver for.
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


class Settings(BaseSettings):
    """One process's settings, read once at its start."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILES,
        env_prefix=_PREFIX,
        extra="ignore",
        populate_by_name=True,
        # What is wrong is told; what was given may be a password.
        hide_input_in_errors=True,
    )

    api_key: SecretStr | None = Field(None, validation_alias=_named("ITTYBIT_API_KEY"))
    api_url: str = Field("https://api.ittybit.com", validation_alias=_named("ITTYBIT_API_URL"))
    connection_id: str | None = Field(None, validation_alias=_named("ITTYBIT_CONNECTION_ID"))
    webhook_secret: SecretStr | None = Field(
        None,
        validation_alias=_named("ITTYBIT_WEBHOOK_SECRET"),
        description="One secret, or several separated by commas while rotating. Quotes around "
        "one are no part of it; a secret that holds a comma is put in double quotes.",
    )
    webhook_url: str | None = Field(None, validation_alias=_named("WEBHOOK_URL"))
    database_url: SecretStr | None = Field(None, validation_alias=_named("DATABASE_URL"))
    db_idle_transaction_s: float = Field(
        10,
        ge=0.1,
        description="Seconds after which Postgres ends a session that is silent inside a "
        "transaction, such as a lost machine's, and gives its locks back.",
    )
    db_lock_timeout_s: float = Field(
        5,
        ge=0.1,
        description="Seconds after which a statement stops waiting for a lock of Postgres; its "
        "transaction is tried again.",
    )
    db_network_timeout_s: int = Field(
        20,
        ge=2,
        description="Seconds after which either side gives up a connection with Postgres on "
        "which nothing arrives any more.",
    )
    port: int = Field(8300, validation_alias=_named("PORT"), ge=0, le=65535)

    home: Path = Field(default_factory=_default_home, description="Where local state lives.")
    profiles_dir: Path = Field(default_factory=lambda: declared(PROFILES_DIR))
    allow_unsigned_webhooks: bool = Field(
        default=False, description="Accept webhooks that nobody signed. Never beyond a test."
    )
    max_body_bytes: int = Field(1_048_576, gt=0, description="Largest webhook body accepted.")
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token of the receiver's /metrics. Without it: loopback alone."
    )
    submit_concurrency: int = Field(64, ge=1, le=1024, description="Submissions in flight a leg.")
    submit_rate_per_s: float | None = Field(None, gt=0, description="Submissions a second a leg.")
    max_in_flight: int | None = Field(
        None,
        ge=1,
        description="Jobs of all batches together that may be at Ittybit or next in line. A batch "
        "waits with its next chunk for room, those of higher priority first.",
    )
    # Not decoded by the library, whose error names no variable.
    kind_costs: Annotated[dict[str, float], NoDecode] = Field(
        default_factory=dict,
        description='What a job of each kind costs, in your unit: {"video": 0.05, "image": 0.001}.',
    )
    jobs_per_minute: float | None = Field(
        None, gt=0, description="What your account gets done, for estimates of time."
    )
    poll_after_s: float = Field(
        900, gt=0, description="Seconds of silence after which a submitted job is polled."
    )
    linger_s: float = Field(
        15,
        ge=0,
        description="Seconds that a chunk's leg stays awake at most, while its last jobs end one "
        "after the other. Waking it again would cost about as much.",
    )
    lease_s: float = Field(
        60, gt=0, description="Seconds without a heartbeat after which a leg is taken for dead."
    )
    keep_days: int = Field(
        30,
        ge=1,
        description="Days after a batch's end for which webhooks' bodies, polled answers and "
        "rejected rows are kept, where the ledger is tidied.",
    )

    source_retry_s: float = Field(
        300,
        ge=0,
        description="Seconds for which a web server or bucket that answers 429 or 5xx, or not at "
        "all, is asked again for a manifest. After that the batch is held.",
    )
    # Not decoded by the library, which would expect JSON.
    file_dirs: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Folders, separated as in PATH, that manifests and SQLite files may be read "
        "from, and `report_to` may write to. Empty: any folder.",
    )

    dynamodb_table: str | None = Field(
        None, min_length=1, description="DynamoDB table that is told of each job at a batch's end."
    )
    suspend_timeout_s: float = Field(
        30 * 86_400, gt=0, description="Seconds after which Prefect gives up a suspended run."
    )

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - any field
        """Read the settings; what is given here goes before the environment.

        What `.env` has for AWS's and Prefect's own libraries goes into the environment.

        Raises:
            ConfigurationError: A setting cannot be used. Its variable is named.
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
        """As in a shell: `PORT=` takes back what `.env` says, and gives nothing."""
        return {name: value for name, value in values.items() if value != ""}

    @field_validator("kind_costs", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError('it is no JSON; write it like {"video": 0.05}') from None

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

    @field_validator("database_url")
    @classmethod
    def _of_a_database(cls, url: SecretStr | None) -> SecretStr | None:
        # Not repeated, for it may hold a password.
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
                # Not repeated, for it may be half of a secret.
                raise ValueError(
                    f"secret {number} of it has {len(secret)} characters, and at least "
                    f"{_SHORTEST_SECRET} are needed. A comma separates secrets: put double quotes "
                    "around one that holds a comma itself"
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
        """Every secret a signature may have been made with, the newest first."""
        if self.webhook_secret is None:
            return ()
        return tuple(part.encode() for part in _secrets_in(self.webhook_secret.get_secret_value()))

    @property
    def silence_s(self) -> float:
        """Seconds of silence after which a job is asked after; short where no webhook comes."""
        return self.poll_after_s if self.webhook_url else min(self.poll_after_s, 5.0)

    @property
    def ledger_url(self) -> str:
        """The SQLAlchemy URL of the ledger: `DATABASE_URL`, or SQLite under `home`.

        Raises:
            ConfigurationError: The home has another ledger, which cannot be used now.
        """
        if self.database_url is None:
            return sqlite_ledger(self.home)
        url = self.database_url.get_secret_value()
        for scheme in ("postgres://", "postgresql://"):
            if url.startswith(scheme):
                return "postgresql+psycopg://" + url.removeprefix(scheme)
        return url


def _secrets_in(text: str) -> list[str]:
    """The secrets that a setting holds, the newest first.

    Docker's `--env-file` keeps the quotes that a shell takes away. A comma without quotes may
    separate secrets or belong to one, so the whole is one as well.
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
    name = str(first["loc"][0])
    variable = name if name.isupper() else _PREFIX + name.upper()
    below = "".join(f"[{part!r}]" for part in first["loc"][1:])
    what = first["msg"].removeprefix("Value error, ")
    return ConfigurationError(
        f"{variable}{below} cannot be used: {what[:1].lower()}{what[1:]}.",
        remedy="Correct it in the environment or in .env, or leave it out.",
    )
