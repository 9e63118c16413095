"""Where bytes are kept: a directory or a bucket."""
