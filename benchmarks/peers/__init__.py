"""The peers that `benchmarks.world_speed` compares with; each module runs in its peer's own environment."""
