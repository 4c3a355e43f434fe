"""What knows a Prefect server: deploying, schedules, automations, the local server, checks.

Nothing is re-exported: these modules import Prefect, which takes seconds. Import the one you need, where you need it.
"""

__all__: list[str] = []
