"""The teacher as a language model: persona -> toolset -> tool check -> fuzzy request -> constraint (-> world)."""
