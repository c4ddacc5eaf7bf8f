"""The public keys of an environment, as an app keeps them.

Rule 1. A key set is used for 24 hours; one that is older is used on while no newer one can be had.
Rule 2. Where no key fits a JWT, the set is fetched again, at most every 5 minutes: a stranger who invents names of keys
        cannot make a client send more than that.
"""

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import Any, Final

from soapbatch.errors import SoapBatchError, TokenNotTrusted
from soapbatch.model import Secret
from soapbatch.online.flight import SingleFlight
from soapbatch.online.key_sets import parse_key_set
from soapbatch.online.sign_in import SignInHost
from soapbatch.online.system_user_jwt import SystemUserClaims, verify_system_token
from soapbatch.system import log_record

_USE: Final = 24 * 3600.0  # seconds
_PAUSE: Final = 300.0  # seconds between two fetches at least, once there is a set


class PublishedKeys:
    """The key set of a sign-in host, fetched when it is first needed."""

    def __init__(self, host: SignInHost, pinned: Mapping[str, Any] | None = None) -> None:
        """Fetch from `host`; `pinned`: a key set that is used instead, for good."""
        self._host = host
        self._keys = pinned
        self._asked_at = math.inf if pinned is not None else -math.inf
        self._flight = SingleFlight(self._fetch, "fetching the key set of the sign-in host")

    async def verify(self, jwt: Secret, *, tenant: str) -> SystemUserClaims:
        """Check a JWT; see `verify_system_token`.

        Raises:
            TokenNotTrusted: a check failed, also with the newest key set that may be fetched.
            SoapBatchError: there is no key set, and none can be fetched.
        """
        keys = await self._current()
        try:
            return verify_system_token(jwt, keys, tenant=tenant, now=self._host.now())
        except TokenNotTrusted as error:
            if error.check != "key":
                raise
            await self._renew(keys)
            if self._keys is None or self._keys is keys:
                raise
            newer = self._keys
        return verify_system_token(jwt, newer, tenant=tenant, now=self._host.now())

    async def aclose(self) -> None:
        """Cancel a fetch that is under way."""
        await self._flight.aclose()

    async def _current(self) -> Mapping[str, Any]:
        keys = self._keys
        age = _now() - self._asked_at
        if keys is None:
            return await self._flight.run()
        if age >= _USE:
            await self._renew(keys)
        return self._keys or keys

    async def _renew(self, keys: Mapping[str, Any]) -> None:
        """Fetch the key set again, unless that was done a short while ago; keep `keys` where it fails."""
        if self._keys is not keys or _now() - self._asked_at < _PAUSE:
            return
        try:
            await self._flight.run()
        except SoapBatchError as error:
            log_record(
                logging.WARNING,
                "the key set of the sign-in host cannot be fetched again (%(error)s: %(reason)s); the old one is used",
                error=type(error).__name__,
                reason=str(error),
            )

    async def _fetch(self) -> Mapping[str, Any]:
        if self._keys is not None:
            self._asked_at = _now()
        response = await self._host.send(self._host.environment.key_set_request())
        response.check_status("the key set")
        self._keys = parse_key_set(response.body)
        self._asked_at = _now()
        return self._keys


def _now() -> float:
    return asyncio.get_running_loop().time()
