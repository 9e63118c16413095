"""Carries episodes up and releases down for the actors of one host.

It meets the actors in the host's directory alone, and the hub through core's Hub. Each of its parts is advanced by
`step`, which says after how many real seconds it wants to be called again.
"""
