"""Sinks: the places that results are delivered to as jobs are accepted and end."""
