// One person's session, for every program here: signs in, renews, and says who is asking.
// In a browser leave refreshToken out: the cookie that came with the sign-in is used then.

export const url = process.env.URL ?? 'http://127.0.0.1:8000/graphql'
export const socketUrl = url.replace(/^http/, 'ws')

const TOKENS = '__typename ... on AuthTokens { accessToken refreshToken expiresAt } ... on Problem { message }'
const LOGIN = `mutation ($input: LoginInput!) { login(input: $input) { ${TOKENS} } }`
const REFRESH = `mutation ($input: RefreshInput) { refreshSession(input: $input) { ${TOKENS} } }`
const EARLY_MS = 30_000 // a token that ends sooner than this is renewed before it is used

export class Session {
  #tokens
  #renewing = null

  static async signIn(login, password) {
    const session = new Session()
    session.#tokens = (await session.#ask(LOGIN, { login, password })).login
    return session
  }

  // The header's value, with a token that lives on for a while.
  async authorization() {
    if (new Date(this.#tokens.expiresAt) - Date.now() < EARLY_MS) await this.renew()
    return `Bearer ${this.#tokens.accessToken}`
  }

  // A new access token. A refresh token works once, so all who ask meanwhile wait for the same answer.
  renew() {
    this.#renewing ??= this.#ask(REFRESH, { refreshToken: this.#tokens.refreshToken })
      .then((data) => { this.#tokens = data.refreshSession })
      .finally(() => { this.#renewing = null })
    return this.#renewing
  }

  // fetch as this person. A request whose token was refused for its age is sent again with a new one.
  fetch = async (target, options = {}) => {
    const send = async () => {
      const headers = new Headers(options.headers)
      headers.set('authorization', await this.authorization())
      return fetch(target, { ...options, headers })
    }
    const answer = await send()
    if (answer.status !== 401 || !isExpired((await answer.clone().json()).errors)) return answer
    await this.renew()
    return send()
  }

  async #ask(query, input) {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables: { input } }),
    })
    const { data, errors } = await answer.json()
    const [outcome] = Object.values(data ?? {})
    if (outcome?.__typename !== 'AuthTokens') throw new Error(outcome?.message ?? errors[0].message)
    return data
  }
}

// Whether errors say that the access token is too old. Any other reason asks for a new sign-in.
export const isExpired = (errors) => (errors ?? []).some(
  ({ extensions }) => extensions?.code === 'UNAUTHENTICATED' && extensions.reason === 'EXPIRED')
