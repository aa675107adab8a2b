"""The steps of a batch: plan, dispatch, poll, wake, reconcile, report.

Each step works from the ledger. It can run at any time, on any machine, and more than once.
"""
