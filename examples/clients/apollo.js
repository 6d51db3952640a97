// Apollo Client 4: links for the token, for files and for subscriptions; its cache joins pages.
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, InMemoryCache, gql } from '@apollo/client'
import { SetContextLink } from '@apollo/client/link/context'
import { ErrorLink } from '@apollo/client/link/error'
import { GraphQLWsLink } from '@apollo/client/link/subscriptions'
import { relayStylePagination } from '@apollo/client/utilities'
import UploadHttpLink from 'apollo-upload-client/UploadHttpLink.mjs'
import { OperationTypeNode } from 'graphql'
import { from, switchMap } from 'rxjs'

import { CREATE, IMAGES, PAGE, RUN, UPLOAD, WATCH, journey } from './journey.js'
import { isExpired, url } from './session.js'
import { sockets } from './sockets.js'
import { stream } from './streams.js'

await journey('apollo', (session) => {
  // snippet
  const socket = sockets(session)

  const token = new SetContextLink(async ({ headers }) => ({
    headers: { ...headers, authorization: await session.authorization(), 'apollo-require-preflight': '1' },
  }))
  // A token that was refused for its age: renewed, and the operation is sent again.
  const renewal = new ErrorLink(({ error, operation, forward }) => {
    if (!CombinedGraphQLErrors.is(error) || !isExpired(error.errors)) return
    return from(session.renew()).pipe(switchMap(() => forward(operation)))
  })

  const client = new ApolloClient({
    link: ApolloLink.split(
      ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
      new GraphQLWsLink(socket),
      ApolloLink.from([renewal, token, new UploadHttpLink({ uri: url })]),
    ),
    cache: new InMemoryCache({
      typePolicies: { Query: { fields: { images: relayStylePagination(['filter', 'orderBy']) } } },
    }),
  })
  // end

  const outcome = ({ data }) => Object.values(data)[0]
  const mutate = async (mutation, variables) => outcome(await client.mutate({ mutation: gql(mutation), variables }))

  async function* watch(id) {
    const updates = client.subscribe({ query: gql(WATCH), variables: { id } })
    const results = stream((sink) => {
      const subscription = updates.subscribe(sink)
      return () => subscription.unsubscribe()
    })
    for await (const { data, error } of results) {
      if (error) throw error
      yield data.classificationUpdated
    }
  }

  return {
    create: (name) => mutate(CREATE, { name }),
    upload: (dataset, files) => mutate(UPLOAD, { dataset, files }),
    run: (dataset) => mutate(RUN, { dataset }),
    watch,
    cut: () => socket.terminate(),
    connections: socket.connections,
    pages: async (dataset) => {
      const list = client.watchQuery({ query: gql(IMAGES), variables: { dataset, first: PAGE } })
      const { data } = await list.refetch()
      let { pageInfo } = data.images
      while (pageInfo.hasNextPage) {
        const more = await list.fetchMore({ variables: { after: pageInfo.endCursor } })
        pageInfo = more.data.images.pageInfo
      }
      // The cache has joined the pages into one list.
      const whole = client.readQuery({ query: gql(IMAGES), variables: { dataset, first: PAGE } })
      return whole.images.edges.map(({ node }) => node.filename)
    },
    end: () => socket.dispose(),
  }
})
