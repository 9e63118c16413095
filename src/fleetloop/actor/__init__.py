"""The control loop of one robot: it plays the policy's chunks, lets an operator take over, and records every tick.

The loop waits for nothing but its clock: inference runs beside it, and whatever touches a disk is left to the clerk.
"""
