"""What pictures are kept in, and who may see it."""

from piccolo.columns import ForeignKey, Text, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from bioscope_gql.tables.columns import identity, now, one_of, word
from bioscope_gql.tables.users import ServiceAccount, User
from bioscope_gql.vocabulary import AccessLevel


class Dataset(Table, tablename="datasets"):
    """A set of pictures with an owner. All visibility hangs on it."""

    id = identity()
    name = Varchar(length=200)
    description = Text(null=True, default=None)
    owner = ForeignKey(User, null=False, on_delete=OnDelete.restrict)
    search_text = Text(default="", secret=True)
    created_at = now()
    updated_at = now()

    datasets_name_not_empty = Check("name <> ''")


class DatasetGrant(Table, tablename="dataset_grants"):
    """Access to a dataset for one person or one machine. The owner has one, which triggers keep."""

    id = identity()
    dataset = ForeignKey(Dataset, null=False, on_delete=OnDelete.cascade)
    user = ForeignKey(User, null=True, default=None, on_delete=OnDelete.cascade)
    service_account = ForeignKey(ServiceAccount, null=True, default=None, on_delete=OnDelete.cascade)
    level = word(AccessLevel.VIEW)
    granted_by = ForeignKey(User, null=True, default=None, on_delete=OnDelete.set_null)
    granted_at = now()

    dataset_grants_once_per_user = Unique([dataset, user])
    dataset_grants_once_per_machine = Unique([dataset, service_account])
    dataset_grants_for_one = Check('num_nonnulls("user", service_account) = 1')
    dataset_grants_level_known = one_of("level", AccessLevel)
