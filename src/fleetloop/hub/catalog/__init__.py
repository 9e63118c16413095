"""What is known of the bytes: the tables, and what is asked of them."""
