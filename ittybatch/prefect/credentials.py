"""The block with the credentials of an Ittybit project."""

from typing import TYPE_CHECKING, Any

from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, SecretStr

if TYPE_CHECKING:
    from ittybatch.ittybit.client import IttybitClient
    from ittybatch.settings import Settings


class IttybitCredentials(CredentialsBlock):
    """The credentials of an Ittybit project.

    Without this block, the environment variables of the process count. A deployment names a block
    in the job variables of its work pool:

        env:
          ITTYBATCH_CREDENTIALS_BLOCK: studio
    """

    _block_type_name = "Ittybit Credentials"
    _block_type_slug = "ittybit-credentials"

    api_key: SecretStr = Field(title="API key", description="A key of the Ittybit project.")
    webhook_secret: SecretStr | None = Field(
        None,
        title="Webhook secret",
        description="Signs the project's webhooks. The receiver needs it too, in its environment.",
    )
    connection_id: str | None = Field(
        None,
        title="Connection",
        description="The connection at Ittybit that reaches s3:// inputs and outputs.",
    )
    api_url: str = Field(
        "https://api.ittybit.com", title="API URL", description="The address of Ittybit's API."
    )

    def get_client(self, **options: Any) -> "IttybitClient":  # noqa: ANN401  of the base class
        """Create a client of Ittybit's API, an asynchronous context manager.

        Args:
            options: Options of `IttybitClient`, such as `timeout_s` and `max_connections`.

        Raises:
            ConfigurationError: The address is invalid.
        """
        from ittybatch.ittybit.client import IttybitClient  # noqa: PLC0415  see the package

        return IttybitClient(self.api_key.get_secret_value(), base_url=self.api_url, **options)

    def settings(self) -> "Settings":
        """The settings of this process, with these credentials in place of its own.

        Nothing of the environment's own project remains, such as its connection.

        Raises:
            ConfigurationError: A setting cannot be used.
        """
        from ittybatch.tasks.credentials import settings_of_block  # noqa: PLC0415  see the package

        return settings_of_block(dict(self))
