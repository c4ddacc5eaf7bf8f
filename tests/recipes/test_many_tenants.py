"""The recipe for many tenants, on an embedded SuperOffice Online in which not every tenant is well."""

import asyncio
from pathlib import Path

from soapbatch import BatchTaskState
from tests.recipes.many_tenants import export_everywhere
from tests.support.clients import names, virtual
from tests.support.online import service

NAMES = ["Cust1", "Cust2", "Cust3", "Cust4", "Cust5"]


@virtual
async def test_each_tenant_has_its_outcome(tmp_path: Path) -> None:
    """One is in maintenance, one has withdrawn its approval, one job fails, and one tenant moves while its job runs."""
    async with service() as here:
        tokens = {}
        for name in NAMES:
            tenant = here.online.add_tenant(name)
            tokens[name] = here.online.approve(here.registered, tenant)
            tenant.server.define_job("ExportAll", duration=60, output=name.encode())
        here.online.tenant("Cust4").server.define_job("ExportAll", outcome=BatchTaskState.FAILED, result="Disk full")
        here.online.set_state("Cust2", "OfflineMaintenance")
        here.online.revoke(here.registered, here.online.tenant("Cust3"))
        asyncio.get_running_loop().call_later(30, here.online.move, "Cust5", "sod3.superoffice.com")
        outcomes = await export_everywhere(here.app, tokens, "ExportAll", day="monday", folder=tmp_path)
        assert {"sod2.superoffice.com", "sod3.superoffice.com"} <= set(here.hosts())
    failure = outcomes.pop("Cust4")
    assert failure.startswith("look into it: JobFailed: ")
    assert "Disk full" in failure
    assert outcomes == {
        "Cust1": "5 bytes",
        "Cust2": "try later: the tenant is OfflineMaintenance",
        "Cust3": "ask the tenant's administrator to approve the app: Revoked",
        "Cust5": "5 bytes",
    }
    assert names(tmp_path) == ["Cust1.out", "Cust5.out"]
    assert (tmp_path / "Cust5.out").read_bytes() == b"Cust5"
