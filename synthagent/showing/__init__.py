"""What people look at: tasks and episodes in the terminal, statistics, pictures, the report page."""
