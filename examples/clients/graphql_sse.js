// graphql-sse: subscriptions as server-sent events, for networks that let no WebSocket through. The rest is fetch.
import { createClient } from 'graphql-sse'

import { CREATE, IMAGES, PAGE, RUN, UPLOAD, WATCH, filenames, journey } from './journey.js'
import { upload } from './multipart.js'
import { url } from './session.js'

await journey('graphql-sse', (session) => {
  let connections = 0
  let network = new AbortController()

  // snippet
  async function* watch(id) {
    let cursor // of the newest update: the server goes on after it
    const client = createClient({
      url,
      retryAttempts: 5,
      // Asked for at every connection: the next one says where this one stopped.
      headers: () => (cursor ? { 'last-event-id': cursor } : {}),
      fetchFn: online, // session.fetch, which gives each connection a token that lives
    })
    for await (const { data, errors } of client.iterate({ query: WATCH, variables: { id } })) {
      if (errors) throw new Error(errors[0].message)
      cursor = data.classificationUpdated.cursor
      yield data.classificationUpdated
    }
  }
  // end

  // fetch over a network that can be cut.
  function online(target, options) {
    connections += 1
    return session.fetch(target, { ...options, signal: AbortSignal.any([options.signal, network.signal]) })
  }

  async function ask(query, variables) {
    const answer = await session.fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    })
    const { data, errors } = await answer.json()
    if (errors) throw new Error(errors[0].message)
    return Object.values(data)[0]
  }

  return {
    create: (name) => ask(CREATE, { name }),
    upload: (dataset, files) => upload(session, UPLOAD, { dataset }, files),
    run: (dataset) => ask(RUN, { dataset }),
    watch,
    cut: () => {
      network.abort()
      network = new AbortController()
    },
    connections: () => connections,
    pages: (dataset) => filenames((after) => ask(IMAGES, { dataset, first: PAGE, after })),
  }
})
