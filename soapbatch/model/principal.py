"""The attrs classes and enums of the SoPrincipal service: who a ticket stands for, and what the server is.

The rules of `carriers` hold here too. Field names and order are the WSDL's; it documents no more than they say.

Source: SoPrincipal75.wsdl to SoPrincipal88.wsdl.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import attrs

from soapbatch.carriers import CREDENTIALS, SoCredentials
from soapbatch.schema import ARRAY_OF_INT, ARRAY_OF_STRING, Array, Record, enumeration, wire
from soapbatch.services import CRYPTOGRAPHY
from soapbatch.xsd import BASE64, BOOLEAN, DATE_TIME, INT, STRING


class UserType(StrEnum):
    """What kind of user a principal is."""

    UNKNOWN = "Unknown"
    INTERNAL_ASSOCIATE = "InternalAssociate"
    RESOURCE_ASSOCIATE = "ResourceAssociate"
    EXTERNAL_ASSOCIATE = "ExternalAssociate"
    ANONYMOUS_ASSOCIATE = "AnonymousAssociate"
    SYSTEM_ASSOCIATE = "SystemAssociate"


class RoleType(StrEnum):
    """What kind of user a principal's role is for."""

    EMPLOYEE = "Employee"
    EXTERNAL_USER = "ExternalUser"
    ANONYMOUS = "Anonymous"
    SYSTEM = "System"


class EjUserStatus(StrEnum):
    """A principal's standing in SuperOffice Service."""

    STATUS_NONE = "StatusNone"
    STATUS_NORMAL = "StatusNormal"
    STATUS_NOT_AVAILABLE = "StatusNotAvailable"
    STATUS_DELETED = "StatusDeleted"
    STATUS_READ_ONLY = "StatusReadOnly"
    STATUS_SPM = "StatusSpm"
    STATUS_SYSTEM = "StatusSystem"


class LicenseType(StrEnum):
    """What a module licence is counted by."""

    UNKNOWN = "Unknown"
    SITE_LICENSE = "SiteLicense"
    SATELLITE_LICENSE = "SatelliteLicense"
    USER_LICENSE = "UserLicense"


class NetServerBuildType(StrEnum):
    """How a NetServer was built."""

    FEATURE = "Feature"
    STABLE = "Stable"
    ALPHA = "Alpha"
    BETA = "Beta"
    RELEASE_CANDIDATE = "ReleaseCandidate"
    RELEASE = "Release"


USER_TYPE = enumeration("UserType", UserType)
ROLE_TYPE = enumeration("RoleType", RoleType)
EJ_USER_STATUS = enumeration("EjUserStatus", EjUserStatus)
LICENSE_TYPE = enumeration("LicenseType", LicenseType)
NET_SERVER_BUILD_TYPE = enumeration("NetServerBuildType", NetServerBuildType)


@attrs.frozen(kw_only=True)
class GrantedModuleLicense:
    """A module that the principal may use."""

    owner_id: int | None = wire("OwnerId", INT)
    owner_name: str | None = wire("OwnerName", STRING)
    owner_description: str | None = wire("OwnerDescription", STRING)
    module_id: int | None = wire("ModuleId", INT)
    name: str | None = wire("Name", STRING)
    description: str | None = wire("Description", STRING)
    version: str | None = wire("Version", STRING)
    license_type: LicenseType | str | None = wire("LicenseType", LICENSE_TYPE)
    extra_flags: int | None = wire("ExtraFlags", INT)
    sort_order: int | None = wire("SortOrder", INT)
    license_number: int | None = wire("LicenseNumber", INT)
    is_hidden: bool | None = wire("IsHidden", BOOLEAN)
    is_unrestricted: bool | None = wire("IsUnrestricted", BOOLEAN)
    expiry_date: datetime | None = wire("ExpiryDate", DATE_TIME)


@attrs.frozen(kw_only=True)
class ProvidedCredential:
    """A way in which the principal proved who it is."""

    type: str | None = wire("Type", STRING)
    search_name: str | None = wire("SearchName", STRING)
    display_name: str | None = wire("DisplayName", STRING)
    credential_id: int | None = wire("CredentialId", INT)


ARRAY_OF_GRANTED_MODULE_LICENSE = Array(
    "ArrayOfGrantedModuleLicense", "GrantedModuleLicense", Record("GrantedModuleLicense", GrantedModuleLicense)
)
ARRAY_OF_PROVIDED_CREDENTIAL = Array(
    "ArrayOfProvidedCredential", "ProvidedCredential", Record("ProvidedCredential", ProvidedCredential)
)


@attrs.frozen(kw_only=True)
class SoPrincipalCarrier:
    """Who a ticket stands for: the user, its groups, roles, licences and rights."""

    user_type: UserType | str | None = wire("UserType", USER_TYPE)
    associate: str | None = wire("Associate", STRING)
    associate_id: int | None = wire("AssociateId", INT)
    is_person: bool | None = wire("IsPerson", BOOLEAN)
    person_id: int | None = wire("PersonId", INT)
    country_id: int | None = wire("CountryId", INT)
    home_country_id: int | None = wire("HomeCountryId", INT)
    contact_id: int | None = wire("ContactId", INT)
    group_id: int | None = wire("GroupId", INT)
    business_id: int | None = wire("BusinessId", INT)
    category_id: int | None = wire("CategoryId", INT)
    contact_owner: int | None = wire("ContactOwner", INT)
    role_id: int | None = wire("RoleId", INT)
    role_name: str | None = wire("RoleName", STRING)
    role_description: str | None = wire("RoleDescription", STRING)
    role_type: RoleType | str | None = wire("RoleType", ROLE_TYPE)
    licenses: Sequence[GrantedModuleLicense] | None = wire("Licenses", ARRAY_OF_GRANTED_MODULE_LICENSE)
    full_name: str | None = wire("FullName", STRING)
    e_mail_address: str | None = wire("EMailAddress", STRING)
    function_rights: Sequence[str] | None = wire("FunctionRights", ARRAY_OF_STRING)
    ej_user_id: int | None = wire("EjUserId", INT)
    ej_access_level: int | None = wire("EjAccessLevel", INT)
    ej_user_status: EjUserStatus | str | None = wire("EjUserStatus", EJ_USER_STATUS)
    provided_credentials: Sequence[ProvidedCredential] | None = wire(
        "ProvidedCredentials", ARRAY_OF_PROVIDED_CREDENTIAL
    )
    secondary_groups: Sequence[int] | None = wire("SecondaryGroups", ARRAY_OF_INT)
    database_context_identifier: str | None = wire("DatabaseContextIdentifier", STRING)


@attrs.frozen(kw_only=True)
class AuthenticateResponse:
    """What every Authenticate operation returns."""

    response: SoPrincipalCarrier | None = wire("Response", Record("SoPrincipalCarrier", SoPrincipalCarrier))
    """Who the ticket stands for."""
    credentials: SoCredentials | None = wire("Credentials", CREDENTIALS)
    """The ticket; its repr is masked."""
    authentication_succeeded: bool | None = wire("AuthenticationSucceeded", BOOLEAN)


AUTHENTICATE_RESPONSE = Record("AuthenticateResponse", AuthenticateResponse)


@attrs.frozen(kw_only=True)
class DSAParameters:
    """A DSA public key, as .NET serialises one."""

    counter: int | None = wire("Counter", INT, namespace=CRYPTOGRAPHY)
    g: bytes | None = wire("G", BASE64, namespace=CRYPTOGRAPHY)
    j: bytes | None = wire("J", BASE64, namespace=CRYPTOGRAPHY)
    p: bytes | None = wire("P", BASE64, namespace=CRYPTOGRAPHY)
    q: bytes | None = wire("Q", BASE64, namespace=CRYPTOGRAPHY)
    seed: bytes | None = wire("Seed", BASE64, namespace=CRYPTOGRAPHY)
    y: bytes | None = wire("Y", BASE64, namespace=CRYPTOGRAPHY)


DSA_PARAMETERS = Record("DSAParameters", DSAParameters, CRYPTOGRAPHY)


@attrs.frozen(kw_only=True)
class SignedPublicKey:
    """The signed key that licences are checked with."""

    owner_name: str | None = wire("OwnerName", STRING)
    sign_date: datetime | None = wire("SignDate", DATE_TIME)
    expiry_date: datetime | None = wire("ExpiryDate", DATE_TIME)
    key: DSAParameters | None = wire("Key", DSA_PARAMETERS)
    signature: str | None = wire("Signature", STRING)


SIGNED_PUBLIC_KEY = Record("SignedPublicKey", SignedPublicKey)


@attrs.frozen(kw_only=True)
class ModuleLicense:
    """A module that the installation has bought."""

    owner_name: str | None = wire("OwnerName", STRING)
    module_name: str | None = wire("ModuleName", STRING)
    module_description: str | None = wire("ModuleDescription", STRING)
    module_tooltip: str | None = wire("ModuleTooltip", STRING)
    module_version: str | None = wire("ModuleVersion", STRING)
    license_type: LicenseType | str | None = wire("LicenseType", LICENSE_TYPE)
    unrestricted: bool | None = wire("Unrestricted", BOOLEAN)
    allowed_user_type: UserType | str | None = wire("AllowedUserType", USER_TYPE)
    number_of_licenses: int | None = wire("NumberOfLicenses", INT)
    extra_flags: int | None = wire("ExtraFlags", INT)
    extra_info: str | None = wire("ExtraInfo", STRING)
    sort_order: int | None = wire("SortOrder", INT)
    is_hidden: bool | None = wire("IsHidden", BOOLEAN)
    prerequisite_module_name: str | None = wire("PrerequisiteModuleName", STRING)
    signature: str | None = wire("Signature", STRING)


ARRAY_OF_MODULE_LICENSE = Array("ArrayOfModuleLicense", "ModuleLicense", Record("ModuleLicense", ModuleLicense))


@attrs.frozen(kw_only=True)
class LicenseInfo:
    """The installation's licence."""

    company_name: str | None = wire("CompanyName", STRING)
    serial_nr: str | None = wire("SerialNr", STRING)
    owner_name: str | None = wire("OwnerName", STRING)
    owner_description: str | None = wire("OwnerDescription", STRING)
    next_check_date: datetime | None = wire("NextCheckDate", DATE_TIME)
    maintenance_date: datetime | None = wire("MaintenanceDate", DATE_TIME)
    admin_warning_date: datetime | None = wire("AdminWarningDate", DATE_TIME)
    expiry_date: datetime | None = wire("ExpiryDate", DATE_TIME)
    grace_date: datetime | None = wire("GraceDate", DATE_TIME)
    extra_flags: int | None = wire("ExtraFlags", INT)
    license_url: str | None = wire("LicenseUrl", STRING)
    license_version: str | None = wire("LicenseVersion", STRING)
    deployment_type: int | None = wire("DeploymentType", INT)
    product_type: str | None = wire("ProductType", STRING)
    product_description: str | None = wire("ProductDescription", STRING)
    module_licenses: Sequence[ModuleLicense] | None = wire("ModuleLicenses", ARRAY_OF_MODULE_LICENSE)
    public_key: SignedPublicKey | None = wire("PublicKey", SIGNED_PUBLIC_KEY)
    signature: str | None = wire("Signature", STRING)


LICENSE_INFO = Record("LicenseInfo", LicenseInfo)


@attrs.frozen(kw_only=True)
class SoSystemInfoCarrier:
    """What `get_system_info` returns: the NetServer, its database and its licence."""

    license: LicenseInfo | None = wire("License", LICENSE_INFO)
    warning_english: str | None = wire("WarningEnglish", STRING)
    warning_resource: str | None = wire("WarningResource", STRING)
    branch_name: str | None = wire("BranchName", STRING)
    build_label: str | None = wire("BuildLabel", STRING)
    assembly_version: str | None = wire("AssemblyVersion", STRING)
    accumulated_next_check_date: datetime | None = wire("AccumulatedNextCheckDate", DATE_TIME)
    file_version: str | None = wire("FileVersion", STRING)
    description: str | None = wire("Description", STRING)
    days_until_net_server_expiry: int | None = wire("DaysUntilNetServerExpiry", INT)
    build_type: NetServerBuildType | str | None = wire("BuildType", NET_SERVER_BUILD_TYPE)
    database_version: int | None = wire("DatabaseVersion", INT)
    is_unicode: bool | None = wire("IsUnicode", BOOLEAN)
    company_name: str | None = wire("CompanyName", STRING)
    company_id: int | None = wire("CompanyId", INT)
    database_type: str | None = wire("DatabaseType", STRING)
    database_minor: str | None = wire("DatabaseMinor", STRING)
    database_name: str | None = wire("DatabaseName", STRING)
    is_on_travel: bool | None = wire("IsOnTravel", BOOLEAN)
    is_satellite: bool | None = wire("IsSatellite", BOOLEAN)


SYSTEM_INFO = Record("SoSystemInfoCarrier", SoSystemInfoCarrier)
