"""Whole plans, as a newcomer reads them."""
