"""`python -m ittybatch`."""

from ittybatch.cli import main

main()
