"""What a batch does: plan, dispatch, poll, wake, reconcile, report.

Each piece works from the ledger and may run twice, at any time, on any machine.
"""
