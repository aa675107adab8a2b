"""A local Ittybit: the same API and signed webhooks, with real ffmpeg behind them.

    from ittybatch.sandbox import SandboxConfig, serve

    serve(SandboxConfig(port=8400, webhook_secret="whsec_local"))

It is the other side of the wire, so it shares no code with the client that talks to it.
"""

from ittybatch.sandbox.app import create_app
from ittybatch.sandbox.config import SandboxConfig, WebhookDialect
from ittybatch.sandbox.faults import Faults
from ittybatch.sandbox.server import serve

__all__ = ["Faults", "SandboxConfig", "WebhookDialect", "create_app", "serve"]
