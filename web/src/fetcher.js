// Sends operations: over HTTP, subscriptions over WebSocket, and as multipart where files were chosen.
import { createGraphiQLFetcher } from '@graphiql/toolkit'
import { createClient } from 'graphql-ws'

import { chosen } from './chosen.js'
import { session } from './session.js'

let written = {} // what the header editor says

const authorization = () => {
  const own = Object.entries(written).find(([name]) => name.toLowerCase() === 'authorization')?.[1]
  return own ?? (session().token ? `Bearer ${session().token}` : null)
}

const sockets = createClient({
  url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/graphql`,
  connectionParams: () => (authorization() ? { authorization: authorization() } : {}),
})

const send = (url, options) => {
  const headers = new Headers(options.headers)
  if (authorization()) headers.set('authorization', authorization())
  return fetch(url, { ...options, headers })
}

const plain = createGraphiQLFetcher({ url: '/graphql', fetch: send, wsClient: sockets })

export const fetcher = (sent, options) => {
  written = options?.headers ?? {}
  const params = isNamed(sent) ? sent : { ...sent, operationName: undefined }
  return wantsFiles(params) ? upload(params, written) : plain(params, options)
}

// Right after a change of tabs GraphiQL may still send the name of the operation before.
const isNamed = ({ query, operationName }) => new RegExp(`\\b${operationName}\\b`).test(query)

// Files go where the variables have an empty list or null at the place that the panel names.
const wantsFiles = ({ variables }) => chosen.files.length > 0 && at(variables, chosen.place) !== undefined

const at = (value, place) => place.split('.').reduce((inner, name) => inner?.[name], value)

async function upload(params, headers) {
  const variables = structuredClone(params.variables)
  const names = chosen.place.split('.')
  const holder = at(variables, names.slice(0, -1).join('.')) ?? variables
  const many = Array.isArray(holder[names.at(-1)])
  const files = many ? chosen.files : chosen.files.slice(0, 1)
  holder[names.at(-1)] = many ? files.map(() => null) : null
  const form = new FormData()
  form.set('operations', JSON.stringify({ ...params, variables }))
  const paths = files.map((_, index) => [index, [`variables.${chosen.place}${many ? `.${index}` : ''}`]])
  form.set('map', JSON.stringify(Object.fromEntries(paths)))
  files.forEach((file, index) => form.set(String(index), file, file.name))
  const answer = await send('/graphql', {
    method: 'POST',
    headers: { ...headers, 'GraphQL-Require-Preflight': '1' },
    body: form,
  })
  return answer.json()
}
