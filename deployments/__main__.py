"""`python -m deployments` is `braid`."""

from deployments.cli import main

main()
