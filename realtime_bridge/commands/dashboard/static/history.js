// How the attempts of a row ended that did not deliver.

import { node } from './dom.js'
import { moment } from './text.js'

/** One item for each line of a row's history, the first one first. */
export function ends(history) {
  return history.map((line) => {
    const item = node('li')
    item.append(
      node('span', 'soft', `${moment(line.at)} · attempt ${line.attempt} · `),
      node('span', '', [became(line), fence(line)].filter(Boolean).join('; ')),
    )
    return item
  })
}

function became({ was, became: now, failure, error, retry_at: until }) {
  if (now === 'failed') return `failed: ${failure}${error ? `, ${error}` : ''}`
  if (was === 'failed' && now === 'pending') return 'retried by hand'
  if (was === 'processing' && now === 'pending') {
    return `${error ?? 'handed back'}${until ? `; waited until ${moment(until)}` : ''}`
  }
  if (now === 'withdrawn') return 'withdrawn before it was sent'
  if (now === 'muted') return 'ended without being sent: its chat has muted the type'
  return `${was} → ${now}`
}

function fence({ was, send_started_at: started }) {
  if (was !== 'processing') return ''
  return started ? `it had passed the fence at ${moment(started)}` : 'nothing had been sent'
}
