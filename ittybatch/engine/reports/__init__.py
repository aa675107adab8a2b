"""The completion report: its contents, its formats and its destinations."""
