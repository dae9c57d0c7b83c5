"""The embedded teacher: from a persona to a task with its tools, world, hidden facts, constraints and solution."""
