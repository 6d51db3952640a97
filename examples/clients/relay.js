// Relay, its runtime alone: React's hooks stand on the same environment. `npm run relay` compiles smears.js first.
import relay from 'relay-runtime'

import datasetQuery from './__generated__/smearsDatasetQuery.graphql.js'
import createMutation from './__generated__/smearsCreateMutation.graphql.js'
import imageQuery from './__generated__/smearsImageQuery.graphql.js'
import imagesFragment from './__generated__/smears_images.graphql.js'
import pageQuery from './__generated__/smearsPageQuery.graphql.js'
import runMutation from './__generated__/smearsRunMutation.graphql.js'
import uploadMutation from './__generated__/smearsUploadMutation.graphql.js'
import watchSubscription from './__generated__/smearsWatchSubscription.graphql.js'
import { PAGE, journey } from './journey.js'
import { multipart } from './multipart.js'
import { url } from './session.js'
import { sockets } from './sockets.js'
import { stream } from './streams.js'

const { Environment, Network, Observable, RecordSource, Store } = relay
const { commitMutation, createOperationDescriptor, fetchQuery, getSingularSelector, requestSubscription } = relay

await journey('relay', (session) => {
  // snippet
  const socket = sockets(session)

  // session.fetch renews a token that was refused for its age, and sends the request again.
  async function post({ text: query }, variables, _cache, uploadables) {
    const request = uploadables
      ? multipart(query, variables, Object.values(uploadables))
      : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query, variables }) }
    return (await session.fetch(url, request)).json()
  }

  const listen = ({ text: query }, variables) =>
    Observable.create((sink) => socket.subscribe({ query, variables }, sink))

  const environment = new Environment({
    network: Network.create(post, listen),
    store: new Store(new RecordSource()),
  })
  // end

  const mutate = (mutation, variables, uploadables) => new Promise((resolve, reject) => {
    commitMutation(environment, {
      mutation, variables, uploadables,
      onCompleted: (data) => resolve(Object.values(data)[0]),
      onError: reject,
    })
  })

  async function* watch(id) {
    const results = stream(({ next, error, complete }) => {
      const options = { subscription: watchSubscription, variables: { id }, onNext: next, onError: error, onCompleted: complete }
      return requestSubscription(environment, options).dispose
    })
    for await (const data of results) yield data.classificationUpdated
  }

  // What usePaginationFragment does: the store joins the pages of a connection.
  async function pages(id) {
    const whole = createOperationDescriptor(datasetQuery, { id, first: PAGE })
    environment.retain(whole)
    await fetchQuery(environment, datasetQuery, { id, first: PAGE }).toPromise()
    const { node } = environment.lookup(whole.fragment).data
    for (;;) {
      const { images } = environment.lookup(getSingularSelector(imagesFragment, node.dataset)).data
      if (!images.pageInfo.hasNextPage) return images.edges
      const after = images.pageInfo.endCursor
      await fetchQuery(environment, pageQuery, { id, first: PAGE, after }).toPromise()
    }
  }

  return {
    create: (name) => mutate(createMutation, { name }),
    upload: (dataset, files) => mutate(uploadMutation, { dataset, files: files.map(() => null) }, { ...files }),
    run: (dataset) => mutate(runMutation, { dataset }),
    watch,
    cut: () => socket.terminate(),
    connections: socket.connections,
    pages: async (dataset) => (await pages(dataset)).map(({ node }) => node.filename),
    more: async (dataset, say) => {
      const [{ node: before }] = await pages(dataset)
      const { node } = await fetchQuery(environment, imageQuery, { id: before.id }).toPromise()
      say(`fetched ${node.filename} again by node: ${node.latestResult.label}`)
    },
    end: () => socket.dispose(),
  }
})
