const status = document.getElementById('status')
const words = { ok: 'Everything is well.', degraded: 'It works, but something is away.', down: 'It does not work now.' }

document.querySelectorAll('.here').forEach((place) => (place.textContent = location.origin))
try {
  const health = await (await fetch('/health')).json()
  status.textContent = `${words[health.status] ?? health.status} Version ${health.version}.`
  status.classList.add(health.status === 'ok' ? 'good' : 'bad')
  for (const [name, part] of Object.entries(health.parts)) {
    const item = document.createElement('li')
    item.textContent = part.status === 'ok' ? name : `${name}: ${part.status}`
    item.className = part.status === 'ok' ? 'good' : 'bad'
    document.getElementById('parts').append(item)
  }
} catch {
  status.textContent = 'The server does not answer. Load the page again in a moment.'
  status.classList.add('bad')
}
