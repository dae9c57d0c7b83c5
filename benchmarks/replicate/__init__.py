"""The paper's claims in miniature: DVC experiments over params, in a copy of the project -> one table with intervals.

`claims` says what is compared, `benchmarks.project` runs an experiment, `measure` evaluates a checkpoint, `table`
decides; `__main__` puts them in order and keeps what is done. See docs/replication.md.

Launch: `python -m benchmarks.replicate`, or `make replicate`, `make replicate-all`.
"""
