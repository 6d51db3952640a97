// A stock client of graphql-ws that asks for its token anew at every connection. The first one it gives is about
// to expire: prints what it is told, and how often it connected.
import { createClient } from 'graphql-ws'
import WebSocket from 'ws'

const [url, query, ...tokens] = process.argv.slice(2)
let connections = 0
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  retryAttempts: 3,
  connectionParams: () => ({ authorization: tokens[Math.min(connections++, tokens.length - 1)] }),
})
for await (const result of client.iterate({ query })) console.log(JSON.stringify(result))
console.log(`complete after ${connections} connections`)
await client.dispose()
