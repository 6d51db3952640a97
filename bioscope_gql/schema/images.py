"""Images: uploaded, found."""

from typing import Annotated

import strawberry

from bioscope_gql.resolvers import image_changes, image_lists, images
from bioscope_gql.resolvers.images import Outcome, Stored
from bioscope_gql.schema import define
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.edges import root_one
from bioscope_gql.schema.inputs import ImageFilter, ImageOrder, UpdateImageInput, UploadImagesInput
from bioscope_gql.schema.paging import Connection, root_list
from bioscope_gql.schema.problems import Forbidden, InvalidInput, NotFound, RateLimited
from bioscope_gql.schema.types import Dataset, Image
from bioscope_gql.schema.words import RejectionCode


@define.interface
class FileOutcome:
    """What became of one file."""

    filename: str


@define.type
class UploadedImage(FileOutcome):
    """The file is an image of the dataset now."""

    image: Image


@define.type
class DuplicateImage(FileOutcome):
    """The dataset already holds these bytes."""

    image: Image


@define.type
class RejectedFile(FileOutcome):
    """The file was not stored."""

    code: RejectionCode
    message: str


@define.type
class UploadReport:
    """One entry per file, in the order sent: one bad file never fails its neighbours."""

    files: list[FileOutcome]
    dataset: Dataset


UploadImagesResult = Annotated[
    UploadReport | NotFound | Forbidden | InvalidInput | RateLimited,
    strawberry.union("UploadImagesResult", description="What became of each file, or why none was taken."),
]


ImageResult = Annotated[
    Image | NotFound | Forbidden | InvalidInput,
    strawberry.union("ImageResult", description="The image as it is now, or why nothing was changed."),
]


def shown(outcome: Outcome) -> FileOutcome:
    if isinstance(outcome, Stored):
        kind = UploadedImage if outcome.is_new else DuplicateImage
        return kind(filename=outcome.filename, image=Image.of(outcome.row))
    return RejectedFile(filename=outcome.filename, code=outcome.reason.code, message=outcome.reason.message)


@strawberry.type
class ImageQueries:
    images: Connection[Image] = root_list(
        lambda: Image,
        image_lists.LISTING,
        filter_by=ImageFilter,
        order_by=ImageOrder,
        description="The images of all datasets that the caller may see.",
    )

    image: Image | None = root_one(
        lambda: Image, "One image; null when it is absent or not for the caller's eyes."
    )


@strawberry.type
class ImageMutations:
    @define.mutation
    async def upload_images(self, info: Info, input: UploadImagesInput) -> UploadImagesResult:
        """Takes files into a dataset, by the multipart request specification."""
        context = info.context
        dataset, outcomes = await images.upload(
            context.services,
            context.viewer,
            input.dataset_id,
            input.files,
            device_id=define.sent(input.device_id),
            metadata=define.sent(input.metadata),
        )
        return UploadReport(files=[shown(each) for each in outcomes], dataset=Dataset.of(dataset))

    @define.mutation
    async def update_image(self, info: Info, input: UpdateImageInput) -> ImageResult:
        """Changes what was sent and leaves the rest."""
        context, changes = info.context, dict(define.given(input))
        if size := changes.get("pixel_size"):
            changes["pixel_size"] = (size.x, size.y)
        return Image.of(await image_changes.update(context.services, context.viewer, input.id, changes))
