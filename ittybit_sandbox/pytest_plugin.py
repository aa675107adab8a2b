"""A local Ittybit as a pytest fixture.

The distribution registers this plugin itself. From a checkout, name it in `conftest.py`:

    pytest_plugins = ["ittybit_sandbox.pytest_plugin"]

Then ask for the fixture:

    def test_upload(ittybit_sandbox):
        client = Client(base_url=ittybit_sandbox.url, api_key=ittybit_sandbox.api_key)
        client.create_job(input="s3://media/clip.mov", kind="video")
        assert ittybit_sandbox.jobs()[0]["status"] == "succeeded"

To encode real media, or to change any other setting, override `ittybit_sandbox_config`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ittybit_sandbox import RunningSandbox, SandboxConfig


@pytest.fixture(scope="session")
def ittybit_sandbox_config() -> "SandboxConfig":
    """Settings of the sandbox: a free port, and no encoding."""
    from ittybit_sandbox import SandboxConfig  # noqa: PLC0415 - only for runs that use it

    return SandboxConfig(port=0, instant=True)


@pytest.fixture(scope="session")
def ittybit_sandbox_server(ittybit_sandbox_config: "SandboxConfig") -> Iterator["RunningSandbox"]:
    """One sandbox for the whole test session."""
    from ittybit_sandbox import running  # noqa: PLC0415 - only for runs that use it

    with running(ittybit_sandbox_config) as sandbox:
        yield sandbox


@pytest.fixture
def ittybit_sandbox(ittybit_sandbox_server: "RunningSandbox") -> Iterator["RunningSandbox"]:
    """Yield a sandbox without jobs; what the test leaves behind is removed."""
    yield ittybit_sandbox_server
    ittybit_sandbox_server.reset()
