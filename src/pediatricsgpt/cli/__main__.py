"""`python -m pediatricsgpt.cli` is `pedgpt`."""

from pediatricsgpt.cli import main

main()
