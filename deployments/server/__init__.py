"""The only room of ours that knows a Prefect server.

- `connecting` finds the server; `local` starts one of our own, with `child_processes`.
- `deploying` deploys pipelines: `desired` describes a deployment, `comparing` finds differences, `schedule_file` reads
  schedules.yaml, `schedules` installs the schedules, `automations` an automation for runs whose process is gone.
- `entrypoints` holds the flows that deployments name, `form` the fields of their form, `deployed` the flow that runs,
  `services` its services.
- `triggering` starts a run of a deployment, `shard_runs` the runs of shards.
- `checks` examines the server, `zombies` runs whose process is gone; both report `findings`.

Nothing is re-exported, because most of these modules import Prefect, which takes seconds.
"""

__all__: list[str] = []
