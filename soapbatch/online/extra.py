"""What is said where the packages of the extra `soapbatch[online]` are missing."""

from soapbatch.errors import UsageError


def extra_is_missing(package: str) -> UsageError:
    """Return the error that says what to install."""
    return UsageError(f"signing in to SuperOffice Online needs {package}: install soapbatch[online]")
