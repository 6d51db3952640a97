"""What stands behind the tokens of machines."""

from piccolo.columns import Array, ForeignKey, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Check
from piccolo.table import Table

from bioscope_gql.tables.columns import identity, now
from bioscope_gql.tables.users import ServiceAccount


class ServiceSession(Table, tablename="service_sessions"):
    """One token of a service account, as long as it lives. `scopes`: those that were asked for."""

    id = identity()
    service_account = ForeignKey(ServiceAccount, null=False, on_delete=OnDelete.cascade, index=True)
    scopes: Array = Array(base_column=Varchar(length=32))
    created_at = now()
    expires_at = now()

    service_sessions_scopes_known = Check(
        "scopes <@ array['IMAGES_READ', 'DEVICES_HEARTBEAT', 'IMAGES_WRITE', 'RESULTS_READ']::varchar[]"
    )
