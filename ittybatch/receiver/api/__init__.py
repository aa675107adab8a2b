"""The receiver's API: requests in, jobs out, for clients with the bearer token."""

from ittybatch.receiver.api.app import create_api

__all__ = ["create_api"]
