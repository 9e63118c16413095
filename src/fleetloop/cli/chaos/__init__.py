"""`fleetloop lab chaos`: a real fleet of processes, and everything that can be done to them."""
