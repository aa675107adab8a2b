"""A local Ittybit: the same API and signed webhooks, with real ffmpeg behind them.

    from ittybit_sandbox import SandboxConfig, serve

    serve(SandboxConfig(port=8400, webhook_secret="whsec_local"))

It is the other side of the wire, so it shares no code with the client that talks to it.
"""

from ittybit_sandbox.app import create_app
from ittybit_sandbox.config import SandboxConfig, WebhookDialect
from ittybit_sandbox.errors import SandboxError
from ittybit_sandbox.faults import Faults
from ittybit_sandbox.server import serve

__all__ = ["Faults", "SandboxConfig", "SandboxError", "WebhookDialect", "create_app", "serve"]
