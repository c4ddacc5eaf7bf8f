"""SuperOffice Online: an app, its secrets, and the tenants that let it in. `pip install "soapbatch[online]"`.

README shows a script with one tenant (`Client.online`). This page is about a service with many;
`python -m pydoc soapbatch.online` is the reference.


What you get from whom
----------------------

| what | from | for | where it goes |
|---|---|---|---|
| client id, client secret | the vendor, when the app is registered | the app, in one environment | `client_secret=` |
| private key | the vendor, likewise | the app, in one environment | `private_key=`: PEM or RSAKeyValue XML |
| customer number | the tenant | the tenant | `app.client("Cust12345", ...)` |
| system user token | the redirect after an administrator approved the app | app and tenant | `SystemUser(...)` |
| refresh token | the redirect after a person signed in | app and person | `RefreshToken(...)` |

The environments are "sod" (development), "stage" and "online" (production). Each has secrets of its own. The client
secret is the application token of every call: `OnlineApp` sends it.


One app, many tenants
---------------------

    async with OnlineApp(environment="online", client_secret=CLIENT_SECRET, private_key=PRIVATE_KEY) as app:

        async def connect(tenant: str) -> Client:
            return app.client(tenant, SystemUser(TOKENS[tenant]))

        async with Tenants(connect) as tenants:
            for tenant in TOKENS:
                async with tenants.client(tenant) as client:
                    job = await client.jobs.start("ExportArchiveBatchPlugin", key=f"{tenant}/2026-11-26")
                    print(tenant, job.id)

The app shares connections, keys and addresses between its clients. `Tenants` opens a client when it is first asked for,
and closes it when it has been idle. `tests/recipes/many_tenants.py` in the sources sorts out what becomes of each
tenant.


A tenant that does not run, or moves
------------------------------------

Calls to a tenant in maintenance end as `TenantUnavailable`, before anything is sent. `retryable` says whether to try
again later: not for a tenant that was deleted or suspended.

    try:
        await client.batch.get_batch_task_info(42)
    except TenantUnavailable as error:
        print(error.state, error.retryable, error.valid_until)

A tenant that has moved is found at its new host, and the call is sent there: nothing to do. If the vendor's webhook
tells you of a move, `app.tenant("Cust12345").forget()` saves the refused request.


A person instead of a system user
---------------------------------

    person = RefreshToken(REFRESH_TOKEN, client_id=CLIENT_ID, on_change=save)
    async with app.client("Cust12345", person) as client:
        print(await client.batch.get_batch_task_info(42))

`save` is called with each new refresh token, before it is used: keep it, the old one may be worth nothing then.


A new client secret
-------------------

    app.client_secret = NEW_SECRET

holds from the next request of each client. An async callable as `client_secret=`, which asks your vault, does the same
without a line of yours at the time of the change.


What it costs
-------------

Calls are metered. All clients of an app together send at most 10 calls a second to one tenant, which is what the
vendor allows; `OnlineApp(max_rate=)` changes that. Waits look seldom (`soapbatch help jobs`), and three or more that
are due share a call.


When a sign-in is refused
-------------------------

The `reason` of a `SystemUserRefused` is the vendor's name for it.

| error | what to do |
|---|---|
| `SystemUserRefused` with "Revoked", "Denied" or "NeedsReapproval" | the tenant's administrator approves again |
| `SystemUserRefused` with "InvalidTimestamp" | set the clock of this machine |
| `TokenNotTrusted` | `check` names what is wrong with the JWT: do not use it, and report it |
| `AuthenticationFailed` of a `RefreshToken` | the person signs in again |

A test of your own needs none of these secrets: `soapbatch.testing.Online` is a SuperOffice Online in your process.
"""
