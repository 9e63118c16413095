"""`fleetloop demo`: a simulated fleet learns while it works, on one machine and within minutes."""
