"""The receiver: takes webhooks and requests, and resumes the flow runs that wait for them."""

from ittybatch.receiver.app import create_app
from ittybatch.receiver.serving import serve

__all__ = ["create_app", "serve"]
