// Who is signed in. The access token stays in memory; a reload gets a new one by the refresh cookie, which no
// script can read.
const listeners = new Set()
let current = { token: null, username: null }
let renewal = 0

export const session = () => current
export const onChange = (listener) => {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export async function signIn(login, password) {
  const answer = await ask(
    `mutation ($input: LoginInput!) { login(input: $input) {
      __typename ... on AuthTokens { accessToken expiresAt user { username } } ... on Problem { message }
    } }`,
    { input: { login, password } },
  )
  return accept(answer.login)
}

export async function signOut() {
  await ask('mutation { logout { __typename } }', {}, current.token)
  become(null, null)
}

// Goes on with the session that this browser has, if it has one.
export async function resume() {
  if (!sessionStorage.getItem('signed-in')) return
  const answer = await ask(`mutation { refreshSession {
    __typename ... on AuthTokens { accessToken expiresAt user { username } } ... on Problem { message }
  } }`).catch(() => ({}))
  accept(answer.refreshSession)
}

function accept(tokens) {
  if (tokens?.__typename !== 'AuthTokens') {
    become(null, null)
    return tokens?.message ?? 'That did not work. Try again.'
  }
  become(tokens.accessToken, tokens.user.username)
  const left = new Date(tokens.expiresAt) - Date.now()
  renewal = setTimeout(resume, Math.max(left - 60_000, 5_000))
  return null
}

function become(token, username) {
  clearTimeout(renewal)
  current = { token, username }
  if (token) sessionStorage.setItem('signed-in', 'yes')
  else sessionStorage.removeItem('signed-in')
  listeners.forEach((listener) => listener())
}

async function ask(query, variables = {}, token = null) {
  const response = await fetch('/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  })
  return (await response.json()).data ?? {}
}
