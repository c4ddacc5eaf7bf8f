"""The carriers and enumerations of the SoPrincipal service: the user of a ticket, and the server itself.

The rules of `batch` apply here, too. Field names and order are those of the WSDL, which documents nothing else.

Source: SoPrincipal75.wsdl to SoPrincipal88.wsdl.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import attrs

from soapbatch.model.headers import CREDENTIALS, SoCredentials
from soapbatch.model.schema import ARRAY_OF_INT, ARRAY_OF_STRING, Array, Carrier, Record, element, enumeration
from soapbatch.model.services import CRYPTOGRAPHY
from soapbatch.model.xsd import BASE64, BOOLEAN, DATE_TIME, INT, STRING


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
class GrantedModuleLicense(Carrier):
    """A module that the principal may use."""

    owner_id: int | None = element("OwnerId", INT)
    owner_name: str | None = element("OwnerName", STRING)
    owner_description: str | None = element("OwnerDescription", STRING)
    module_id: int | None = element("ModuleId", INT)
    name: str | None = element("Name", STRING)
    description: str | None = element("Description", STRING)
    version: str | None = element("Version", STRING)
    license_type: LicenseType | str | None = element("LicenseType", LICENSE_TYPE)
    extra_flags: int | None = element("ExtraFlags", INT)
    sort_order: int | None = element("SortOrder", INT)
    license_number: int | None = element("LicenseNumber", INT)
    is_hidden: bool | None = element("IsHidden", BOOLEAN)
    is_unrestricted: bool | None = element("IsUnrestricted", BOOLEAN)
    expiry_date: datetime | None = element("ExpiryDate", DATE_TIME)


@attrs.frozen(kw_only=True)
class ProvidedCredential(Carrier):
    """A way in which the principal proved who it is."""

    type: str | None = element("Type", STRING)
    search_name: str | None = element("SearchName", STRING)
    display_name: str | None = element("DisplayName", STRING)
    credential_id: int | None = element("CredentialId", INT)


ARRAY_OF_GRANTED_MODULE_LICENSE = Array(
    "ArrayOfGrantedModuleLicense", "GrantedModuleLicense", Record("GrantedModuleLicense", GrantedModuleLicense)
)
ARRAY_OF_PROVIDED_CREDENTIAL = Array(
    "ArrayOfProvidedCredential", "ProvidedCredential", Record("ProvidedCredential", ProvidedCredential)
)


@attrs.frozen(kw_only=True)
class SoPrincipalCarrier(Carrier):
    """Who a ticket stands for: the user, its groups, roles, licences and rights."""

    user_type: UserType | str | None = element("UserType", USER_TYPE)
    associate: str | None = element("Associate", STRING)
    associate_id: int | None = element("AssociateId", INT)
    is_person: bool | None = element("IsPerson", BOOLEAN)
    person_id: int | None = element("PersonId", INT)
    country_id: int | None = element("CountryId", INT)
    home_country_id: int | None = element("HomeCountryId", INT)
    contact_id: int | None = element("ContactId", INT)
    group_id: int | None = element("GroupId", INT)
    business_id: int | None = element("BusinessId", INT)
    category_id: int | None = element("CategoryId", INT)
    contact_owner: int | None = element("ContactOwner", INT)
    role_id: int | None = element("RoleId", INT)
    role_name: str | None = element("RoleName", STRING)
    role_description: str | None = element("RoleDescription", STRING)
    role_type: RoleType | str | None = element("RoleType", ROLE_TYPE)
    licenses: Sequence[GrantedModuleLicense] | None = element("Licenses", ARRAY_OF_GRANTED_MODULE_LICENSE)
    full_name: str | None = element("FullName", STRING)
    e_mail_address: str | None = element("EMailAddress", STRING)
    function_rights: Sequence[str] | None = element("FunctionRights", ARRAY_OF_STRING)
    ej_user_id: int | None = element("EjUserId", INT)
    ej_access_level: int | None = element("EjAccessLevel", INT)
    ej_user_status: EjUserStatus | str | None = element("EjUserStatus", EJ_USER_STATUS)
    provided_credentials: Sequence[ProvidedCredential] | None = element(
        "ProvidedCredentials", ARRAY_OF_PROVIDED_CREDENTIAL
    )
    secondary_groups: Sequence[int] | None = element("SecondaryGroups", ARRAY_OF_INT)
    database_context_identifier: str | None = element("DatabaseContextIdentifier", STRING)


@attrs.frozen(kw_only=True)
class AuthenticateResponse(Carrier):
    """What every Authenticate operation returns."""

    response: SoPrincipalCarrier | None = element("Response", Record("SoPrincipalCarrier", SoPrincipalCarrier))
    """Who the ticket stands for."""
    credentials: SoCredentials | None = element("Credentials", CREDENTIALS)
    """The ticket; its repr is masked."""
    authentication_succeeded: bool | None = element("AuthenticationSucceeded", BOOLEAN)


AUTHENTICATE_RESPONSE = Record("AuthenticateResponse", AuthenticateResponse)


@attrs.frozen(kw_only=True)
class DSAParameters(Carrier):
    """A DSA public key, as .NET serialises one."""

    counter: int | None = element("Counter", INT, namespace=CRYPTOGRAPHY)
    g: bytes | None = element("G", BASE64, namespace=CRYPTOGRAPHY)
    j: bytes | None = element("J", BASE64, namespace=CRYPTOGRAPHY)
    p: bytes | None = element("P", BASE64, namespace=CRYPTOGRAPHY)
    q: bytes | None = element("Q", BASE64, namespace=CRYPTOGRAPHY)
    seed: bytes | None = element("Seed", BASE64, namespace=CRYPTOGRAPHY)
    y: bytes | None = element("Y", BASE64, namespace=CRYPTOGRAPHY)


DSA_PARAMETERS = Record("DSAParameters", DSAParameters, CRYPTOGRAPHY)


@attrs.frozen(kw_only=True)
class SignedPublicKey(Carrier):
    """The signed key that licences are checked with."""

    owner_name: str | None = element("OwnerName", STRING)
    sign_date: datetime | None = element("SignDate", DATE_TIME)
    expiry_date: datetime | None = element("ExpiryDate", DATE_TIME)
    key: DSAParameters | None = element("Key", DSA_PARAMETERS)
    signature: str | None = element("Signature", STRING)


SIGNED_PUBLIC_KEY = Record("SignedPublicKey", SignedPublicKey)


@attrs.frozen(kw_only=True)
class ModuleLicense(Carrier):
    """A module that the installation has bought."""

    owner_name: str | None = element("OwnerName", STRING)
    module_name: str | None = element("ModuleName", STRING)
    module_description: str | None = element("ModuleDescription", STRING)
    module_tooltip: str | None = element("ModuleTooltip", STRING)
    module_version: str | None = element("ModuleVersion", STRING)
    license_type: LicenseType | str | None = element("LicenseType", LICENSE_TYPE)
    unrestricted: bool | None = element("Unrestricted", BOOLEAN)
    allowed_user_type: UserType | str | None = element("AllowedUserType", USER_TYPE)
    number_of_licenses: int | None = element("NumberOfLicenses", INT)
    extra_flags: int | None = element("ExtraFlags", INT)
    extra_info: str | None = element("ExtraInfo", STRING)
    sort_order: int | None = element("SortOrder", INT)
    is_hidden: bool | None = element("IsHidden", BOOLEAN)
    prerequisite_module_name: str | None = element("PrerequisiteModuleName", STRING)
    signature: str | None = element("Signature", STRING)


ARRAY_OF_MODULE_LICENSE = Array("ArrayOfModuleLicense", "ModuleLicense", Record("ModuleLicense", ModuleLicense))


@attrs.frozen(kw_only=True)
class LicenseInfo(Carrier):
    """The installation's licence."""

    company_name: str | None = element("CompanyName", STRING)
    serial_nr: str | None = element("SerialNr", STRING)
    owner_name: str | None = element("OwnerName", STRING)
    owner_description: str | None = element("OwnerDescription", STRING)
    next_check_date: datetime | None = element("NextCheckDate", DATE_TIME)
    maintenance_date: datetime | None = element("MaintenanceDate", DATE_TIME)
    admin_warning_date: datetime | None = element("AdminWarningDate", DATE_TIME)
    expiry_date: datetime | None = element("ExpiryDate", DATE_TIME)
    grace_date: datetime | None = element("GraceDate", DATE_TIME)
    extra_flags: int | None = element("ExtraFlags", INT)
    license_url: str | None = element("LicenseUrl", STRING)
    license_version: str | None = element("LicenseVersion", STRING)
    deployment_type: int | None = element("DeploymentType", INT)
    product_type: str | None = element("ProductType", STRING)
    product_description: str | None = element("ProductDescription", STRING)
    module_licenses: Sequence[ModuleLicense] | None = element("ModuleLicenses", ARRAY_OF_MODULE_LICENSE)
    public_key: SignedPublicKey | None = element("PublicKey", SIGNED_PUBLIC_KEY)
    signature: str | None = element("Signature", STRING)


LICENSE_INFO = Record("LicenseInfo", LicenseInfo)


@attrs.frozen(kw_only=True)
class SoSystemInfoCarrier(Carrier):
    """What `get_system_info` returns: the NetServer, its database and its licence."""

    license: LicenseInfo | None = element("License", LICENSE_INFO)
    warning_english: str | None = element("WarningEnglish", STRING)
    warning_resource: str | None = element("WarningResource", STRING)
    branch_name: str | None = element("BranchName", STRING)
    build_label: str | None = element("BuildLabel", STRING)
    assembly_version: str | None = element("AssemblyVersion", STRING)
    accumulated_next_check_date: datetime | None = element("AccumulatedNextCheckDate", DATE_TIME)
    file_version: str | None = element("FileVersion", STRING)
    description: str | None = element("Description", STRING)
    days_until_net_server_expiry: int | None = element("DaysUntilNetServerExpiry", INT)
    build_type: NetServerBuildType | str | None = element("BuildType", NET_SERVER_BUILD_TYPE)
    database_version: int | None = element("DatabaseVersion", INT)
    is_unicode: bool | None = element("IsUnicode", BOOLEAN)
    company_name: str | None = element("CompanyName", STRING)
    company_id: int | None = element("CompanyId", INT)
    database_type: str | None = element("DatabaseType", STRING)
    database_minor: str | None = element("DatabaseMinor", STRING)
    database_name: str | None = element("DatabaseName", STRING)
    is_on_travel: bool | None = element("IsOnTravel", BOOLEAN)
    is_satellite: bool | None = element("IsSatellite", BOOLEAN)


SYSTEM_INFO = Record("SoSystemInfoCarrier", SoSystemInfoCarrier)
