"""The commands: the only place, beside the lab, where the rooms are handed to each other."""
