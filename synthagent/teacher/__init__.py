"""The embedded teacher: from a persona to a task with its own tools, world, hidden facts, policy and solution."""
