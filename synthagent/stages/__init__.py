"""One module a stage: a pure core, and a `run` that reads deps and writes outs."""
