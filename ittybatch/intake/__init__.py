"""Intake: requests are taken as they come, sent at once, and answered with Ittybit's ids.

The ledger holds a request before anything is sent. All requests of one day for one profile are one
batch, which the commands know like any other.
"""
