"""Checks that every kind of source must pass, including your own kinds."""

from deployments.testkit.places import Fault, Place
from deployments.testkit.source_checks import CHECKS, SourceKit

__all__ = ["CHECKS", "Fault", "Place", "SourceKit"]
