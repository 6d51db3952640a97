"""What the people of the laboratory ask."""

UPLOAD = """
mutation ($dataset: ID!, $files: [Upload!]!, $metadata: JSON) {
  uploadImages(input: {datasetId: $dataset, files: $files, metadata: $metadata}) {
    __typename
    ... on UploadReport { files {
      __typename filename
      ... on UploadedImage { image { id filename contentType width height sha256 } }
      ... on DuplicateImage { image { id } }
      ... on RejectedFile { code message }
    } dataset { id imageCount } }
    ... on Problem { code message }
    ... on InvalidInput { fields { code path } }
    ... on NotFound { ids }
  }
}
"""
RUN = """
mutation ($input: RunClassificationInput!) {
  runClassification(input: $input) {
    __typename
    ... on Classification {
      id status modelName modelVersion skippedCount image { id } dataset { id }
      progress { total queued running succeeded failed cancelled fraction }
    }
    ... on Problem { code message }
    ... on NotFound { ids }
    ... on InvalidInput { fields { code path } }
    ... on NothingToDo { skippedCount }
  }
}
"""
WATCH = """
subscription ($id: ID!, $after: String) {
  classificationUpdated(id: $id, after: $after) {
    cursor
    classification { status progress { total queued running succeeded failed cancelled fraction } error }
    items { id status attempt errorCode errorMessage workerName image { id } result { label confidence } }
  }
}
"""
