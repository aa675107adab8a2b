"""The soak: thousands of jobs under a seeded plan of faults, and both sides counted after it.

`python -m tests.soak` runs it for real; `tests/end_to_end/test_soak.py` is its short form.
"""
