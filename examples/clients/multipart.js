// Files by the GraphQL multipart request specification, for clients that bring nothing for it.
import { url } from './session.js'

// The body and headers that carry `files` as the variable `files`.
export function multipart(query, variables, files) {
  const body = new FormData()
  body.set('operations', JSON.stringify({ query, variables: { ...variables, files: files.map(() => null) } }))
  body.set('map', JSON.stringify(Object.fromEntries(files.map((_, index) => [index, [`variables.files.${index}`]]))))
  files.forEach((file, index) => body.set(String(index), file, file.name))
  return { method: 'POST', headers: { 'graphql-require-preflight': '1' }, body }
}

// What the mutation answered.
export async function upload(session, query, variables, files) {
  const answer = await session.fetch(url, multipart(query, variables, files))
  const { data, errors } = await answer.json()
  if (errors) throw new Error(errors[0].message)
  return Object.values(data)[0]
}
