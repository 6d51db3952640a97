// A stock client of graphql-sse: prints every result of a subscription, and how it ended.
import { createClient } from 'graphql-sse'

const [url, token, query] = process.argv.slice(2)
const client = createClient({ url, headers: { authorization: token }, retryAttempts: 0 })
try {
  for await (const result of client.iterate({ query })) console.log(JSON.stringify(result))
  console.log('complete')
} catch (error) {
  console.log(`failed: ${error.message}`)
}
client.dispose()
