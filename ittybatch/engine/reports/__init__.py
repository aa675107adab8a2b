"""The completion report: what it says, the forms it has, the places it is written to."""
