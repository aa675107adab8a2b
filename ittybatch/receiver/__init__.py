"""The receiver: stores and applies webhooks, and resumes the flow runs that wait for them."""

from ittybatch.receiver.app import create_app, serve

__all__ = ["create_app", "serve"]
