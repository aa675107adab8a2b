"""The receiver: webhooks come in, are kept and applied, and wake what waits for them."""

from ittybatch.receiver.app import create_app, serve

__all__ = ["create_app", "serve"]
