"""What crosses wings: deadlines, cancellation, closing, faults, logins, secrets, load."""
