"""Experience and demonstrations, ready to be drawn from."""
