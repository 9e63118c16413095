"""From a policy's tensors to verified weights on a robot: codec and verification. Decoding needs no torch."""
