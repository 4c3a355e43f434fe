"""What knows a Prefect server: deploying, schedules, automations, the local server, checks."""
