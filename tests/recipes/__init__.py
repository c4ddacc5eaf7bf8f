"""Recipes: small programs that show one task, and that the tests run."""
