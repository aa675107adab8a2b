"""The credentials block that a deployment names, in place of the key in the environment."""

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from ittybatch.engine.flow_runs import translating_errors
from ittybatch.errors import ConfigurationError
from ittybatch.settings import Settings

SETTING = "ITTYBATCH_CREDENTIALS_BLOCK"
# The slug of `IttybitCredentials`, and its fields, which are named as our settings are.
_BLOCK_TYPE = "ittybit-credentials"
_FIELDS = ("api_key", "api_url", "connection_id", "webhook_secret")


def with_credentials(settings: Settings) -> Settings:
    """Give the settings with the credentials of the block that they name, if they name one.

    The job variables of a deployment hold the name of the block only: `prefect deploy` would
    replace a reference to its key by the key itself, which everybody could read in Prefect.

    Raises:
        ConfigurationError: Prefect has no block of this name, or its values cannot be used.
        PrefectUnavailable: Prefect does not answer, or refused the request.
    """
    name = settings.credentials_block
    if name is None:
        return settings
    try:
        with (
            translating_errors(f"read the credentials block {name!r}"),
            get_client(sync_client=True) as client,
        ):
            data = client.read_block_document_by_name(name, _BLOCK_TYPE).data
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"{SETTING} names the block {name!r}, and Prefect has no {_BLOCK_TYPE} block of this "
            "name. Nothing was sent.",
            remedy="Create it in the Prefect UI under Blocks, or correct the name in the job "
            "variables in prefect.yaml and run `ittybatch deploy` in its folder.",
        ) from error
    return settings_of_block(data)


def settings_of_block(data: Mapping[str, Any]) -> Settings:
    """The settings of this process, with the credentials of a block in place of its own.

    A block is one project. What it lacks stays unset: the connection in the environment may be of
    another project, whose buckets this key cannot reach. The webhook secret is the receiver's
    alone, which reads its own environment.

    Args:
        data: The block's fields.

    Raises:
        ConfigurationError: A value cannot be used.
    """
    given = {field: data.get(field) or None for field in _FIELDS}
    given["api_url"] = given["api_url"] or Settings.model_fields["api_url"].default
    return Settings(**given)
