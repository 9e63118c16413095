"""`fleetloop check`: runs a kind's contract against a plug-in and says in words what is wrong. One module per kind."""
