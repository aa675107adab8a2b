"""The sandbox: a local Ittybit."""
