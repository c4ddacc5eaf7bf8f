"""SuperOffice Online: from a customer number to a client of the tenant's NetServer.

    async with OnlineApp(environment="online", client_secret=SECRET, private_key=PrivateKey.read("app.xml")) as app:
        async with app.client("Cust12345", SystemUser("My App-k3J9xQ2mPz")) as client:
            job = await client.jobs.start("ExportAll")

    app.client("Cust12345", RefreshToken(value, client_id=..., on_change=save))   # a person who signed in
    state = await app.tenant("Cust12345").state()                                 # does it run, where, until when
    app.tenant("Cust12345").forget()                                              # a webhook said that it moved

A script with one tenant uses `Client.online`. Signing and checking need the extra `soapbatch[online]` (cryptography and
PyJWT). Both are imported when they are first used, because that takes about 40 and 140 ms.

How it works. `app` makes clients, and holds what all of them share. `tenant_address` knows where a tenant is, and what
a request does that went to its former address. `credentials` signs in system users and people. `sign_in` sends requests
to the sign-in host, `published_keys` keeps its key set, and `flight` lets callers share a request.

The rest is pure: no socket and no clock. `environments` names the sign-in hosts and their addresses. `tenants` reads
the state of a tenant. `private_key` reads an app's key and `system_user` signs with it, over REST; `system_user_soap`
does the same over SOAP. `system_user_jwt` checks the JWT that comes back, with the key sets of `key_sets`. `oauth`
renews access tokens. `responses` holds what the readers of responses share, and `xml_texts` reads small XML documents.

Source: the vendor's documentation of SuperOffice Online and its public samples. Some facts are not documented there; a
comment marks each of them as inferred.
"""

from soapbatch.online.app import OnlineApp as OnlineApp, open_online as open_online
from soapbatch.online.credentials import RefreshToken as RefreshToken, SystemUser as SystemUser
from soapbatch.online.environments import Environment as Environment, SignInRequest as SignInRequest
from soapbatch.online.key_sets import parse_key_set as parse_key_set
from soapbatch.online.oauth import (
    OAuthTokens as OAuthTokens,
    build_refresh_request as build_refresh_request,
    parse_token_response as parse_token_response,
)
from soapbatch.online.private_key import PrivateKey as PrivateKey, hold as hold
from soapbatch.online.system_user import (
    build_system_user_request as build_system_user_request,
    parse_system_user_response as parse_system_user_response,
    sign_system_token as sign_system_token,
)
from soapbatch.online.system_user_jwt import (
    SystemUserClaims as SystemUserClaims,
    verify_system_token as verify_system_token,
)
from soapbatch.online.system_user_soap import (
    build_system_user_soap_request as build_system_user_soap_request,
    parse_system_user_soap_response as parse_system_user_soap_response,
)
from soapbatch.online.tenant_address import Tenant as Tenant
from soapbatch.online.tenants import (
    TENANT_STATES as TENANT_STATES,
    StateTraits as StateTraits,
    TenantState as TenantState,
    parse_tenant_state as parse_tenant_state,
)
