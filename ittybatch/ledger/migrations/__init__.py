"""The steps that brought the ledger to what it is."""
