"""Experiments: the virtual-time fleet, how well a policy does, and the jobs, tables and pictures made of both."""
