// What waits, what is in flight, and which bridges answer.

import { $, Listing, node, say } from './dom.js'
import { count, rows, span } from './text.js'

// As the alert BridgeBacklogOld has it.
const OLD_SECONDS = 60

export class Now {
  constructor() {
    this.lanes = new Listing($('lanes'), ({ name }) => name, lane)
    this.replicas = new Listing($('replicas'), ({ url }) => url, replica)
    this.rate = null
    this.state = null
    this.trouble = null
    this.mood = ''
  }

  about({ version, project, delivery, rate }) {
    this.rate = rate
    say($('about'), `${project} · ${delivery.replaceAll('_', ' ')} · version ${version}`)
  }

  show(state) {
    this.state = state
    const requests = Object.entries(state.requests).map(([name, counts]) => ({ name, ...counts }))
    this.lanes.show([{ name: 'tma_events', ...picked(state.events) }, ...requests])
    this.replicas.show(state.replicas)
    this.verdict()
  }

  pace(delivered) {
    const now = `${(delivered / 10).toFixed(1)} messages/s`
    say($('pace'), this.rate ? `${now} of ${count(this.rate)}` : now)
  }

  /** The trouble that keeps the page from its numbers; null if there is none. */
  troubled(text) {
    this.trouble = text
    this.verdict()
  }

  verdict() {
    const [text, mood] = this.trouble ? [this.trouble, 'bad'] : judged(this.state)
    say($('verdict'), text, `verdict ${mood}`)
    // Who hears the page is told when it turns, not each number on the way.
    if (mood !== this.mood) say($('turn'), text)
    this.mood = mood
  }
}

const picked = ({ pending, oldest_pending_seconds, processing, scheduled }) =>
  ({ pending, oldest_pending_seconds, processing, scheduled })

/** The one sentence for who has ten seconds. */
function judged(state) {
  if (!state) return ['Asking the database…', '']
  const { pending, processing, oldest_pending_seconds: oldest } = state.events
  const halted = state.replicas.find(({ details }) => details && !details.ready)
  if (halted) return [`A bridge is not ready: ${(halted.details.reasons ?? []).join('; ')}`, 'bad']
  if (pending && oldest > OLD_SECONDS) {
    const idle = processing ? '' : ', and nothing is in flight'
    return [`Messages are late: ${rows(pending)} waiting, the oldest for ${span(oldest)}${idle}.`, 'bad']
  }
  return [pending ? `Messages flow: ${rows(pending)} waiting.` : 'Messages flow: nothing waits.', 'good']
}

function lane({ name, pending, oldest_pending_seconds: oldest, processing, scheduled }) {
  const line = node('tr')
  const head = node('th', '', name)
  head.scope = 'row'
  const late = pending && oldest > OLD_SECONDS ? 'late' : ''
  line.append(
    head,
    node('td', '', count(pending)),
    node('td', late, pending ? span(oldest) : '–'),
    node('td', '', count(processing)),
    node('td', '', scheduled === undefined ? '–' : count(scheduled)),
  )
  return line
}

function replica({ url, details }) {
  const item = node('li')
  const [word, mood, text] = told(details)
  item.append(node('span', `word ${mood}`, word), node('span', 'what', `${url} ${text}`.trim()))
  return item
}

function told(details) {
  if (!details) return ['away', 'warning', 'does not answer: it may run elsewhere (--replica)']
  if (!details.ready) return ['not ready', 'failed', (details.reasons ?? []).join('; ')]
  const bells = details.doorbell
  if (!bells) return ['ready', 'ok', '']
  const why = details.degraded && bells.last_error ? ` (${bells.last_error})` : ''
  const text = `changes ${bells.changes}, broadcast ${bells.broadcast}${why}`
  return details.degraded ? ['degraded', 'warning', text] : ['ready', 'ok', text]
}
