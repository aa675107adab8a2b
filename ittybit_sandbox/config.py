"""Settings of a sandbox."""

from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from ittybit_sandbox.faults import Faults, load_faults

# A server on all addresses is reached at the loopback address.
_LOOPBACK_OF: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class WebhookDialect(StrEnum):
    """The shapes in which Ittybit's guides show a webhook.

    `flat` is the job itself, with status `succeeded`. `completed` is the same with status
    `completed`. `envelope` wraps the job in `{"event", "data"}`.
    """

    FLAT = "flat"
    COMPLETED = "completed"
    ENVELOPE = "envelope"


class SandboxConfig(BaseModel):
    """Settings of a sandbox.

    S3 uses the usual AWS settings (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, ...).

    Raises:
        pydantic.ValidationError: A value is out of range.
        ConfigurationError: `faults` is a path to a file that cannot be used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8400, ge=0, le=65535, description="0 takes a free port.")
    public_url: str | None = Field(
        None, description="Base of output URLs; the server's own address by default."
    )
    api_key: SecretStr = Field(SecretStr("sandbox-key"), min_length=1)
    webhook_secret: SecretStr = Field(SecretStr("sandbox-webhook-secret"), min_length=1)
    webhook_dialect: WebhookDialect = WebhookDialect.FLAT
    webhook_timeout_s: float = Field(
        5, gt=0, description="Seconds to wait for a response to a webhook."
    )
    webhook_attempts: int = Field(12, ge=1, le=100)
    webhook_base_delay_s: float = Field(1, gt=0, description="Delay before the second attempt.")
    webhook_max_delay_s: float = Field(60, gt=0)
    webhook_concurrency: int = Field(64, ge=1, le=1024)

    state_dir: Path | None = Field(
        None,
        description="Folder that keeps jobs and outputs across restarts; temporary by default.",
    )
    instant: bool = Field(default=False, description="Do not encode; compute a plausible output.")
    instant_latency_s: float = Field(0, ge=0, description="Seconds that an instant job takes.")
    seed: int = 0
    faults: Faults = Field(
        default_factory=Faults, description="Faults to inject, or the path of a file."
    )

    max_body_bytes: int = Field(1_048_576, gt=0)
    body_timeout_s: float = Field(30, gt=0)
    max_encodes: int = Field(2, ge=1, le=64)
    encode_threads: int = Field(1, ge=1, le=64)
    encode_timeout_s: float = Field(900, gt=0)
    max_input_bytes: int = Field(4 * 1024**3, gt=0)
    download_timeout_s: float = Field(600, gt=0)

    @field_validator("faults", mode="before")
    @classmethod
    def _read_faults(cls, value: object) -> object:
        return load_faults(Path(value)) if isinstance(value, str | Path) else value

    @field_validator("public_url")
    @classmethod
    def _without_trailing_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else None

    @field_validator("state_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().resolve() if value else None

    @property
    def base_url(self) -> str:
        """Base URL of the API and of outputs."""
        if self.public_url:
            return self.public_url
        host = _LOOPBACK_OF.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
