// graphql-ws by itself: everything over one WebSocket, but for files.
import { CREATE, IMAGES, PAGE, RUN, UPLOAD, WATCH, filenames, journey } from './journey.js'
import { upload } from './multipart.js'
import { sockets } from './sockets.js'
import { stream } from './streams.js'

await journey('graphql-ws', (session) => {
  // snippet
  const client = sockets(session)

  const results = (query, variables) => stream((sink) => client.subscribe({ query, variables }, sink))

  async function* operate(query, variables) {
    for await (const { data, errors } of results(query, variables)) {
      if (errors) throw new Error(errors[0].message)
      yield Object.values(data)[0]
    }
  }

  const ask = async (query, variables) => (await operate(query, variables).next()).value
  // end

  return {
    create: (name) => ask(CREATE, { name }),
    upload: (dataset, files) => upload(session, UPLOAD, { dataset }, files),
    run: (dataset) => ask(RUN, { dataset }),
    watch: (id) => operate(WATCH, { id }),
    cut: () => client.terminate(),
    connections: client.connections,
    pages: (dataset) => filenames((after) => ask(IMAGES, { dataset, first: PAGE, after })),
    end: () => client.dispose(),
  }
})
