"""A local Ittybit: the same API and signed webhooks, with real ffmpeg behind them.

    from ittybit_sandbox import SandboxConfig, serve

    serve(SandboxConfig(port=8400, webhook_secret="whsec_local"))

It shares no code with the clients that talk to it, so a mistake on one side shows on the other.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ittybit_sandbox.app import create_app
    from ittybit_sandbox.background import RunningSandbox, running
    from ittybit_sandbox.config import SandboxConfig, WebhookDialect
    from ittybit_sandbox.errors import SandboxError
    from ittybit_sandbox.faults import Faults
    from ittybit_sandbox.server import serve

__all__ = [
    "Faults",
    "RunningSandbox",
    "SandboxConfig",
    "SandboxError",
    "WebhookDialect",
    "create_app",
    "running",
    "serve",
]

_MODULES = {
    "Faults": "faults",
    "RunningSandbox": "background",
    "SandboxConfig": "config",
    "SandboxError": "errors",
    "WebhookDialect": "config",
    "create_app": "app",
    "running": "background",
    "serve": "server",
}


def __getattr__(name: str) -> object:
    # pytest loads the plugin in every run; only a run that uses it should import boto3 and PyAV.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
