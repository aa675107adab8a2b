"""Profiles: loading, conditions, destinations, job keys."""
