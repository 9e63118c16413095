"""The vocabulary: what an episode, a release, a robot, a policy and a hub are.

Imports nothing of ours, and no torch.
"""
