"""People and machines that may sign in."""

from piccolo.columns import Array, ForeignKey, Text, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from bioscope_gql.tables.columns import identity, moment, now, one_of, word
from bioscope_gql.vocabulary import Role, UserStatus


class User(Table, tablename="users"):
    """A person. `email_key` and `username_key` are folded (NFKC, case), so that nobody is there twice;
    `search_text` (the username) and `search_email` are without accents too."""

    id = identity()
    email = Varchar(length=320)
    email_key = Varchar(length=640, secret=True)
    username = Varchar(length=64)
    username_key = Varchar(length=256, secret=True)
    search_text = Text(default="")
    search_email = Text(default="", secret=True)
    hashed_password = Text(null=True, default=None, secret=True)
    role = word(Role.USER)
    status = word(UserStatus.ACTIVE)
    created_at = now()
    updated_at = now()

    users_email_once = Unique([email_key])
    users_username_once = Unique([username_key])
    users_role_known = one_of("role", Role)
    users_status_known = one_of("status", UserStatus)


class ServiceAccount(Table, tablename="service_accounts"):
    """A machine's account: scopes only, on no rung of the ladder."""

    id = identity()
    name = Varchar(length=100)
    client_id = Varchar(length=64)
    hashed_secret = Text(secret=True)
    scopes: Array = Array(base_column=Varchar(length=32))
    created_by = ForeignKey(User, null=True, default=None, on_delete=OnDelete.set_null)
    created_at = now()
    last_used_at = moment()
    expires_at = moment()
    revoked_at = moment()

    service_accounts_name_once = Unique([name])
    service_accounts_client_id_once = Unique([client_id])
    service_accounts_scopes_known = Check(
        "scopes <@ array['IMAGES_READ', 'DEVICES_HEARTBEAT', 'IMAGES_WRITE', 'RESULTS_READ']::varchar[]"
    )
