"""Intake: what is taken, sent and answered."""
