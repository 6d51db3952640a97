// Callbacks made into something for `for await`: what RxJS, wonka and Relay call a subscription.
export async function* stream(subscribe) {
  const heard = []
  let ring = () => {}
  const hear = (entry) => { heard.push(entry); ring() }
  const stop = subscribe({
    next: (value) => hear({ value }),
    error: (error) => hear({ error }),
    complete: () => hear({ isDone: true }),
  })
  try {
    for (;;) {
      while (heard.length === 0) await new Promise((resolve) => { ring = resolve })
      const { value, error, isDone } = heard.shift()
      if (error) throw error
      if (isDone) return
      yield value
    }
  } finally {
    stop()
  }
}
