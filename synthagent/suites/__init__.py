"""Benchmarks that others wrote, as sources of evaluation; docs/suites.md says how to add one."""
