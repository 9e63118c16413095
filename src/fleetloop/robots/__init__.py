"""Other people's robots and environments behind core's Robot seam."""
