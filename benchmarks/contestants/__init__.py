"""The contestants: each module runs as a process of its own and prints one line of JSON."""
