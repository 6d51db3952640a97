import { useState } from 'react'

import { chosen } from './chosen.js'

function Files() {
  const [names, setNames] = useState(chosen.files.map((file) => file.name))
  const choose = (event) => {
    chosen.files = [...event.target.files]
    setNames(chosen.files.map((file) => file.name))
  }
  return (
    <div className="bioscope-panel">
      <h2>Files</h2>
      <p>
        Files that you choose here are sent with every operation that has the variable below. Give it{' '}
        <code>[]</code>, or <code>null</code> for a single file.
      </p>
      <label>
        Variable
        <input defaultValue={chosen.place} onChange={(event) => (chosen.place = event.target.value.trim())} />
      </label>
      <label>
        Pictures
        <input type="file" multiple onChange={choose} />
      </label>
      <ul>
        {names.map((name) => (
          <li key={name}>{name}</li>
        ))}
      </ul>
    </div>
  )
}

const Picture = () => (
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" aria-hidden="true">
    <rect x="3" y="4" width="18" height="16" rx="2" />
    <circle cx="9" cy="10" r="2" />
    <path d="m4 19 6-5 4 3 3-3 4 4" />
  </svg>
)

export const files = { title: 'Files', icon: Picture, content: Files }
