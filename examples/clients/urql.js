// urql: its own exchanges for tokens and for subscriptions; it sends files as multipart by itself.
import { authExchange } from '@urql/exchange-auth'
import { Client, cacheExchange, fetchExchange, subscriptionExchange } from '@urql/core'
import { pipe, subscribe } from 'wonka'

import { CREATE, IMAGES, PAGE, RUN, UPLOAD, WATCH, filenames, journey } from './journey.js'
import { isExpired, url } from './session.js'
import { sockets } from './sockets.js'
import { stream } from './streams.js'

await journey('urql', async (session) => {
  // snippet
  const socket = sockets(session)
  const client = new Client({
    url,
    preferGetMethod: false,
    fetchOptions: { headers: { 'graphql-require-preflight': '1' } }, // files need it, and it harms nothing else
    exchanges: [
      cacheExchange,
      authExchange(async (utilities) => {
        let authorization = await session.authorization()
        return {
          addAuthToOperation: (operation) => utilities.appendHeaders(operation, { authorization }),
          // A token that was refused for its age: renewed, and the operation is sent again.
          didAuthError: ({ graphQLErrors }) => isExpired(graphQLErrors),
          async refreshAuth() {
            await session.renew()
            authorization = await session.authorization()
          },
        }
      }),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query, variables }) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
        }),
      }),
    ],
  })
  // end

  const outcome = ({ data, error }) => {
    if (error) throw error
    return Object.values(data)[0]
  }

  async function* watch(id) {
    for await (const result of stream(({ next }) => {
      return pipe(client.subscription(WATCH, { id }), subscribe(next)).unsubscribe
    })) {
      const update = outcome(result)
      if (!result.hasNext) return // at the end urql tells the last update once more
      yield update
    }
  }

  return {
    create: async (name) => outcome(await client.mutation(CREATE, { name })),
    upload: async (dataset, files) => outcome(await client.mutation(UPLOAD, { dataset, files })),
    run: async (dataset) => outcome(await client.mutation(RUN, { dataset })),
    watch,
    cut: () => socket.terminate(),
    connections: socket.connections,
    pages: (dataset) =>
      filenames(async (after) => outcome(await client.query(IMAGES, { dataset, first: PAGE, after }))),
    end: () => socket.dispose(),
  }
})
