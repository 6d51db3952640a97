import { useState, useSyncExternalStore } from 'react'

import { onChange, session, signIn, signOut } from './session.js'

function Account() {
  const { username } = useSyncExternalStore(onChange, session)
  const [problem, setProblem] = useState(null)
  const [busy, setBusy] = useState(false)

  async function submit(event) {
    event.preventDefault()
    const form = new FormData(event.target)
    setBusy(true)
    setProblem(await signIn(form.get('login'), form.get('password')))
    setBusy(false)
  }

  if (username)
    return (
      <div className="bioscope-panel">
        <h2>Account</h2>
        <p>
          You are <strong>{username}</strong>. Every operation carries your token, unless the header editor
          names another <code>Authorization</code>.
        </p>
        <button type="button" className="graphiql-button" onClick={signOut}>
          Sign out
        </button>
      </div>
    )
  return (
    <form className="bioscope-panel" onSubmit={submit}>
      <h2>Sign in</h2>
      <label>
        E-mail or username
        <input name="login" autoComplete="username" required autoFocus />
      </label>
      <label>
        Password
        <input name="password" type="password" autoComplete="current-password" required />
      </label>
      {problem && <p role="alert">{problem}</p>}
      <button className="graphiql-button" disabled={busy}>
        Sign in
      </button>
    </form>
  )
}

const Person = () => (
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" aria-hidden="true">
    <circle cx="12" cy="8" r="4" />
    <path d="M4 21c1-5 4-7 8-7s7 2 8 7" />
  </svg>
)

export const account = { title: 'Account', icon: Person, content: Account }
