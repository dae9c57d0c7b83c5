"""For human eyes: tasks and episodes in a terminal, statistics, pictures, the report page."""
