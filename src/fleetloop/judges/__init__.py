"""Who says how an episode ended."""
