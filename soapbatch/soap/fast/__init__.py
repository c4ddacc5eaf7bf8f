"""What is fast because it is clever. Everything works without it."""
