"""What the demo asks of the API, as any other client would."""

LOGIN = """
mutation Login($login: String!, $password: String!) {
  login(input: {login: $login, password: $password}) {
    __typename
    ... on AuthTokens { accessToken user { id } }
    ... on Problem { code message }
  }
}
"""

SERVER = "{ server { limits { bytesPerUpload bytesPerFile filesPerUpload } } }"

DATASETS = """
query Datasets($name: String!, $owner: ID!) {
  datasets(first: 100, filter: {search: $name, ownerId: $owner}) { nodes { id name } }
}
"""

CREATE_DATASET = """
mutation CreateDataset($name: String!, $description: String!) {
  createDataset(input: {name: $name, description: $description}) {
    __typename
    ... on Dataset { id }
    ... on Problem { code message }
  }
}
"""

UPLOAD = """
mutation Upload($dataset: ID!, $files: [Upload!]!) {
  uploadImages(input: {datasetId: $dataset, files: $files}) {
    __typename
    ... on UploadReport { files { __typename filename ... on RejectedFile { code message } } }
    ... on Problem { code message }
  }
}
"""

LIVE_MODELS = """
query LiveModels($name: String!) {
  models(filter: {name: $name, live: true}) { nodes { version liveWorkers } }
}
"""

OPEN_RUNS = """
query OpenRuns($dataset: ID!, $model: String!) {
  classifications(
    first: 100, filter: {datasetId: $dataset, modelName: $model, status: [PENDING, RUNNING]}
  ) { nodes { id progress { total } } }
}
"""

RUN = """
mutation Run($dataset: ID!, $model: String!) {
  runClassification(input: {target: {datasetId: $dataset}, modelName: $model, onlyMissing: true}) {
    __typename
    ... on Classification { id progress { total } }
    ... on Problem { code message }
  }
}
"""

FOLLOW = """
subscription Follow($run: ID!, $after: String) {
  classificationUpdated(id: $run, after: $after) {
    cursor
    classification {
      status
      error
      progress { total succeeded failed cancelled }
    }
    items { status errorCode errorMessage image { filename } }
  }
}
"""

RESULTS = """
query Results($dataset: ID!, $after: String) {
  images(first: 100, after: $after, filter: {datasetId: $dataset}) {
    nodes { filename latestResult { label confidence details durationMs } }
    pageInfo { hasNextPage endCursor }
  }
}
"""

DOUBTFUL = """{
  classificationResults(
    first: 10, filter: {datasetId: "%s", confidenceAtMost: 0.85}
  ) {
    totalCount
    nodes { label confidence image { filename } scores { label confidence } }
  }
}"""
"""For a person to go on with: the results of a dataset to look at again."""
