"""What type checkers say of the public interface."""
