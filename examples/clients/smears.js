// What relay.js asks. relay-compiler reads this and writes __generated__; babel-plugin-relay, in a bundler, would put
// what is written there in the place of each tag.
graphql`
  mutation smearsCreateMutation($name: String!) {
    createDataset(input: { name: $name }) { __typename ... on Dataset { id name } ... on Problem { message } }
  }
`
graphql`
  mutation smearsUploadMutation($dataset: ID!, $files: [Upload!]!) {
    uploadImages(input: { datasetId: $dataset, files: $files }) {
      __typename
      ... on UploadReport { files {
        __typename filename ... on UploadedImage { image { id } } ... on RejectedFile { message }
      } }
      ... on Problem { message }
    }
  }
`
graphql`
  mutation smearsRunMutation($dataset: ID!) {
    runClassification(input: { target: { datasetId: $dataset } }) {
      __typename ... on Classification { id status } ... on Problem { message }
    }
  }
`
graphql`
  subscription smearsWatchSubscription($id: ID!, $after: String) {
    classificationUpdated(id: $id, after: $after) {
      cursor
      classification { id status }
      items { id status result { id label } }
    }
  }
`
graphql`
  query smearsDatasetQuery($id: ID!, $first: Int!) {
    node(id: $id) { ...smears_images @arguments(first: $first) @alias(as: "dataset") }
  }
`
// Its further pages come by smearsPageQuery, which relay-compiler writes: it asks node(id) for the dataset.
graphql`
  fragment smears_images on Dataset
  @refetchable(queryName: "smearsPageQuery")
  @argumentDefinitions(first: { type: "Int!" }, after: { type: "String" }) {
    images(first: $first, after: $after) @connection(key: "smears_images") {
      edges { node { id filename latestResult { label confidence } } }
    }
  }
`
graphql`
  query smearsImageQuery($id: ID!) {
    node(id: $id) { ... on Image { id filename latestResult { label confidence } } }
  }
`
