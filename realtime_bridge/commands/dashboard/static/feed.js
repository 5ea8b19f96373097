// The stream of news. The browser itself connects again when it breaks.

const PARTS = ['ways', 'state', 'hour', 'failures', 'trouble']

/** Hand news to `handlers` by part; say by `lost(text)` when there are none, '' when there are. */
export function follow(handlers, lost) {
  const source = new EventSource('/events')
  for (const part of PARTS) {
    source.addEventListener(part, (event) => handlers[part](JSON.parse(event.data)))
  }
  source.addEventListener('open', () => lost(''))
  source.addEventListener('error', () => {
    const over = source.readyState === EventSource.CLOSED
    lost(over
      ? 'This page is no longer let in. Open the address that the terminal shows.'
      : 'The dashboard does not answer; the numbers are old. The page goes on when it is back.')
  })
}
