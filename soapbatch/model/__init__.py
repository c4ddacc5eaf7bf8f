"""The values: service versions and bindings, XSD types, carriers, secrets, limits and the retry policy.

This wing imports no other wing. A carrier is a frozen attrs class; each field names its element and wire type. `batch`,
`headers` and `principal` hold the carriers, `schema` and `xsd` the wire types, `services` the versions, agents,
bindings and namespaces.
"""

from soapbatch.model.address import (
    Address as Address,
    parse_address as parse_address,
    problem_of_prefix as problem_of_prefix,
)
from soapbatch.model.batch import (
    ALL_ASSOCIATES as ALL_ASSOCIATES,
    ALL_USER_TASKS as ALL_USER_TASKS,
    ARRAY_OF_BATCH_TASK_INFO as ARRAY_OF_BATCH_TASK_INFO,
    BATCH_TASK_INFO as BATCH_TASK_INFO,
    BATCH_TASK_STATE as BATCH_TASK_STATE,
    SYSTEM_TASKS as SYSTEM_TASKS,
    BatchTaskCancellationBehaviour as BatchTaskCancellationBehaviour,
    BatchTaskInfo as BatchTaskInfo,
    BatchTaskState as BatchTaskState,
)
from soapbatch.model.exchange import SHOWN as SHOWN, ExchangeRecord as ExchangeRecord
from soapbatch.model.headers import (
    CREDENTIALS as CREDENTIALS,
    EXCEPTION_INFO as EXCEPTION_INFO,
    REPLY_HEADER as REPLY_HEADER,
    REQUEST_HEADER as REQUEST_HEADER,
    TIME_ZONE as TIME_ZONE,
    ExceptionInfo as ExceptionInfo,
    ReplyHeader as ReplyHeader,
    RequestHeader as RequestHeader,
    SoCredentials as SoCredentials,
    SoTimeZone as SoTimeZone,
)
from soapbatch.model.limits import KIB as KIB, MIB as MIB, Limits as Limits
from soapbatch.model.principal import (
    AUTHENTICATE_RESPONSE as AUTHENTICATE_RESPONSE,
    DSA_PARAMETERS as DSA_PARAMETERS,
    SYSTEM_INFO as SYSTEM_INFO,
    AuthenticateResponse as AuthenticateResponse,
    DSAParameters as DSAParameters,
    EjUserStatus as EjUserStatus,
    GrantedModuleLicense as GrantedModuleLicense,
    LicenseInfo as LicenseInfo,
    LicenseType as LicenseType,
    ModuleLicense as ModuleLicense,
    NetServerBuildType as NetServerBuildType,
    ProvidedCredential as ProvidedCredential,
    RoleType as RoleType,
    SignedPublicKey as SignedPublicKey,
    SoPrincipalCarrier as SoPrincipalCarrier,
    SoSystemInfoCarrier as SoSystemInfoCarrier,
    UserType as UserType,
)
from soapbatch.model.retry import Backoff as Backoff, Retries as Retries, parse_retry_after as parse_retry_after
from soapbatch.model.schema import (
    ARRAY_OF_INT as ARRAY_OF_INT,
    Array as Array,
    Carrier as Carrier,
    Dictionary as Dictionary,
    Enumeration as Enumeration,
    Field as Field,
    Record as Record,
    WireType as WireType,
    to_plain as to_plain,
)
from soapbatch.model.seconds import SECONDS as SECONDS, is_seconds as is_seconds
from soapbatch.model.secret import (
    MASK as MASK,
    Secret as Secret,
    Withheld as Withheld,
    kind_of as kind_of,
    redact as redact,
    redact_envelope as redact_envelope,
)
from soapbatch.model.services import (
    AGENTS as AGENTS,
    ARRAYS as ARRAYS,
    BATCH as BATCH,
    BLOB as BLOB,
    CRYPTOGRAPHY as CRYPTOGRAPHY,
    SO_PRINCIPAL as SO_PRINCIPAL,
    SOAP11_ENVELOPE as SOAP11_ENVELOPE,
    SOAP12_ENCODING as SOAP12_ENCODING,
    SOAP12_ENVELOPE as SOAP12_ENVELOPE,
    XSD as XSD,
    XSI as XSI,
    Agent as Agent,
    Binding as Binding,
    ServiceVersion as ServiceVersion,
)
from soapbatch.model.xsd import (
    BASE64 as BASE64,
    BOOLEAN as BOOLEAN,
    DATE_TIME as DATE_TIME,
    ILLEGAL_CHARACTER as ILLEGAL_CHARACTER,
    INT as INT,
    SHORT as SHORT,
    STRING as STRING,
    Scalar as Scalar,
    encode_string as encode_string,
    escape_text as escape_text,
    needs_escaping as needs_escaping,
    plain_int as plain_int,
    utf16_length as utf16_length,
)
