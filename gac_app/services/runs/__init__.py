"""Runs: one prompt answered by the ensemble and by every member alone. The life of one, module by module:

`runs`: a visitor starts one, or replaces an earlier one (`revisions`): a `RunPlan` becomes a `LiveRun` (`live_run`).
`runner`: the run is checked, waits in the queue, decodes in a thread for each stream, and ends, also soon after the
last page has left. `metrics` count its answers.
`recorder`: its row is written when it is taken, its answers when they have ended.
`live_runs`: it stays in memory for the pages that show it.
`history`: it is found again, live or stored, as a `RunView` (`views`), judged, shared and deleted; `comparison` tells
how a repeated one differs.
`batches`: many prompts, each such a run.
"""
