"""SuperOffice Online: where a tenant lives, how a system user signs in, how an interactive user stays signed in.

This wing builds the requests to a sign-in host and reads the responses. It is pure: no socket and no clock.

`environments` names the sign-in hosts and their addresses. `tenants` reads the state of a tenant. `private_key` reads
an app's key and `system_user` signs with it, over REST; `system_user_soap` does the same over SOAP. `system_user_jwt`
checks the JWT that comes back, with the key sets of `key_sets`. `oauth` renews access tokens. `responses` holds what
the readers of responses share, and `xml_texts` reads small XML documents.

Signing and checking need the extra `soapbatch[online]` (cryptography and PyJWT). Both are imported when they are first
used, because that takes about 40 and 140 ms.

Source: the vendor's documentation of SuperOffice Online and its public samples. Some facts are not documented there; a
comment marks each of them as inferred.
"""

from soapbatch.online.environments import Environment as Environment, SignInRequest as SignInRequest
from soapbatch.online.key_sets import parse_key_set as parse_key_set
from soapbatch.online.oauth import (
    OAuthTokens as OAuthTokens,
    build_refresh_request as build_refresh_request,
    parse_token_response as parse_token_response,
)
from soapbatch.online.private_key import PrivateKey as PrivateKey
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
from soapbatch.online.tenants import (
    TENANT_STATES as TENANT_STATES,
    StateTraits as StateTraits,
    TenantState as TenantState,
    parse_tenant_state as parse_tenant_state,
)
