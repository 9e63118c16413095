"""The hub over HTTP: the face that serves it, and the client that speaks to it."""
