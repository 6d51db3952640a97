"""Devices: made, changed, heard from."""

from typing import Annotated

import strawberry

from bioscope_gql.resolvers import devices
from bioscope_gql.schema import define
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.edges import root_one
from bioscope_gql.schema.inputs import (
    CreateDeviceInput,
    DeviceFilter,
    DeviceHeartbeatInput,
    DeviceOrder,
    UpdateDeviceInput,
)
from bioscope_gql.schema.paging import Connection, root_list
from bioscope_gql.schema.problems import Conflict, Forbidden, InvalidInput, NotFound
from bioscope_gql.schema.types import Device

DeviceResult = Annotated[
    Device | NotFound | Forbidden | InvalidInput | Conflict,
    strawberry.union("DeviceResult", description="The device as it is now, or why nothing was done."),
]


@strawberry.type
class DeviceQueries:
    devices: Connection[Device] = root_list(
        lambda: Device,
        devices.LISTING,
        filter_by=DeviceFilter,
        order_by=DeviceOrder,
        description="The microscopes of the laboratory.",
    )

    device: Device | None = root_one(lambda: Device, "One device; null when there is none of this id.")


@strawberry.type
class DeviceMutations:
    @define.mutation
    async def create_device(self, info: Info, input: CreateDeviceInput) -> DeviceResult:
        """Admins only."""
        context = info.context
        row = await devices.create(
            context.services,
            context.viewer,
            name=input.name,
            device_type=input.device_type,
            location=define.sent(input.location),
            metadata=define.sent(input.metadata),
        )
        return Device.of(row)

    @define.mutation
    async def update_device(self, info: Info, input: UpdateDeviceInput) -> DeviceResult:
        """Admins only. Changes what was sent and leaves the rest."""
        context = info.context
        row = await devices.update(context.services, context.viewer, input.id, changes=define.given(input))
        return Device.of(row)

    @define.mutation
    async def retire_device(self, info: Info, id: strawberry.ID) -> DeviceResult:
        """Admins only. Its images stay."""
        context = info.context
        return Device.of(await devices.retire(context.services, context.viewer, id))

    @define.mutation
    async def device_heartbeat(self, info: Info, input: DeviceHeartbeatInput) -> DeviceResult:
        """For admins and service accounts with DEVICES_HEARTBEAT: the device is alive, and says this."""
        context = info.context
        row = await devices.heartbeat(
            context.services, context.viewer, input.device_id, metadata=define.sent(input.metadata)
        )
        return Device.of(row)
