"""Ittybit's HTTP API and webhooks: what goes over the wire, and how to read what comes back."""
