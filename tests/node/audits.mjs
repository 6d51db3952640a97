// The audits of graphql-http against a server: prints what came of each as JSON.
import { serverAudits } from 'graphql-http'

const [url, token] = process.argv.slice(2)
const fetchFn = (address, options = {}) =>
  fetch(address, { ...options, headers: { ...options.headers, authorization: token } })

const results = []
for (const audit of serverAudits({ url, fetchFn })) {
  const { name, status, reason } = await audit.fn()
  results.push({ name, status, reason })
}
console.log(JSON.stringify(results))
