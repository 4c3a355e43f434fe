"""SQLSTATEs of PostgreSQL after which the same statement may succeed."""

TRANSIENT_SQLSTATES = ("08", "40", "53", "55P03", "57P")
"""Prefixes: lost connections, rollbacks (deadlock, serialisation), resources, locks, and a server shutting down."""
