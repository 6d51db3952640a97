// The whole journey, a tab for each step.
const variables = (value) => JSON.stringify(value, null, 2)

export const tabs = [
  {
    query: `# Welcome to BioScope. Sign in with the person icon on the left; then go through the tabs.
# Ctrl-Enter runs an operation, Ctrl-Space completes what you type.
query WhoAmI {
  me { username role }
  server { version }
}
`,
  },
  {
    query: `mutation CreateDataset($input: CreateDatasetInput!) {
  createDataset(input: $input) {
    __typename
    ... on Dataset { id name }
    ... on Problem { message }
  }
}
`,
    variables: variables({ input: { name: 'My first smears' } }),
  },
  {
    query: `# Choose files with the picture icon on the left; they are sent as the variable input.files.
mutation Upload($input: UploadImagesInput!) {
  uploadImages(input: $input) {
    __typename
    ... on UploadReport {
      files {
        __typename
        filename
        ... on UploadedImage { image { id width height } }
        ... on RejectedFile { code message }
      }
    }
    ... on Problem { message }
  }
}
`,
    variables: variables({ input: { datasetId: 'the id of your dataset', files: [] } }),
  },
  {
    query: `mutation Run($input: RunClassificationInput!) {
  runClassification(input: $input) {
    __typename
    ... on Classification { id status modelName modelVersion progress { total } }
    ... on Problem { message }
  }
}
`,
    variables: variables({ input: { target: { datasetId: 'the id of your dataset' } } }),
  },
  {
    query: `subscription Watch($id: ID!) {
  classificationUpdated(id: $id) {
    cursor
    classification { status progress { fraction succeeded failed total } }
    items { status image { filename } result { label confidence } }
  }
}
`,
    variables: variables({ id: 'the id of your run' }),
  },
  {
    query: `query Look {
  images(first: 20) {
    nodes { filename thumbnailUrl latestResult { label confidence } }
    pageInfo { hasNextPage endCursor }
  }
}
`,
  },
]
