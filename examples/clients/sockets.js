// The WebSocket under Apollo, urql and Relay: graphql-ws, with a token for each connection, and going on after cuts.
import { createClient } from 'graphql-ws'
import WebSocket from 'ws'

import { socketUrl } from './session.js'

// snippet
// A client of graphql-ws; `connections()` counts how often it connected.
export function sockets(session) {
  let connections = 0
  let isRefused = false
  const client = createClient({
    url: socketUrl,
    webSocketImpl: WebSocket, // a browser has one
    lazyCloseTimeout: 10_000, // one socket for operations that come one after the other
    // Asked for at every connection. 4403 says that the token of the one before has expired.
    connectionParams: async () => {
      if (isRefused) await session.renew()
      return { authorization: await session.authorization() }
    },
    on: {
      connected: () => { connections += 1 },
      closed: ({ code }) => { isRefused = code === 4403 },
    },
  })
  return Object.assign(resuming(client), { connections: () => connections })
}

// After a cut graphql-ws connects and subscribes again by itself. The variables are written anew at that moment: with
// the newest cursor in them nothing comes twice. The subscription declares `$after` and selects `cursor`.
export function resuming(client) {
  return {
    ...client,
    subscribe(payload, sink) {
      const variables = { ...payload.variables }
      return client.subscribe({ ...payload, variables }, {
        ...sink,
        next(result) {
          variables.after = Object.values(result.data ?? {})[0]?.cursor ?? variables.after
          sink.next(result)
        },
      })
    },
  }
}
// end
