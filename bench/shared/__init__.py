"""What the benches share. They print tables and assert nothing."""
