"""Scripts that run inside a suite's own environment, isolated: they import its package and the standard library."""
