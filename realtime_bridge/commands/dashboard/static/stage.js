// What a demo shows beside the numbers: the Mini App and the chat, in a frame of their own origin.

import { $, node } from './dom.js'

const MOST_PIXELS = 5000

/** Frame the panes at this address; nothing where there is no demo. */
export function stage(panes) {
  if (!panes) return
  const frame = node('iframe', 'stage wide')
  frame.title = 'Mini App, and chat with the bot'
  frame.src = panes
  addEventListener('message', ({ source, origin, data }) => {
    const ours = source === frame.contentWindow && origin === new URL(panes).origin
    const height = Number(data?.height)
    if (ours && height > 0) frame.style.height = `${Math.min(height, MOST_PIXELS)}px`
  })
  // What becomes of a row comes next to where it is written.
  document.querySelector('main').prepend(frame, document.querySelector('.ways'))
  $('demo').hidden = false
}
