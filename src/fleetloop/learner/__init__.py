"""From experience to releases: buffer, sampler, training loop, checkpoint, publisher."""
