"""The policies that come with FleetLoop."""
