"""People, and scripted stand-ins, who may take a robot over."""
