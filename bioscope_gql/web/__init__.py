"""Pages for people: where to start, and the explorer."""
