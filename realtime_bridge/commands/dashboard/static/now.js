// What waits, what is in flight, and which bridges answer.

import { $, Listing, node, say } from './dom.js'
import { count, rows, span } from './text.js'

// As the alert BridgeBacklogOld has it.
const OLD_SECONDS = 60

export class Now {
  constructor() {
    this.lanes = new Listing($('lanes'), ({ name }) => name, lane)
    this.replicas = new Listing($('replicas'), ({ key }) => key, replica)
    this.state = null
    this.delivered = 0
    this.trouble = null
    this.mood = ''
  }

  about({ version, project, delivery }) {
    say($('about'), `${project} · ${delivery.replaceAll('_', ' ')} · version ${version}`)
  }

  show(state) {
    this.state = state
    const requests = Object.entries(state.requests).map(([name, counts]) => ({ name, ...counts }))
    this.lanes.show([{ name: 'tma_events', ...picked(state.events) }, ...requests])
    this.replicas.show(bridges(state))
    $('no-replicas').hidden = state.known.length > 0
    this.pace(this.delivered)
    this.verdict()
  }

  /** How many messages went in the last ten seconds, beside what the bot may. */
  pace(delivered) {
    this.delivered = delivered
    const { limits, limits_differ: differ, paused_seconds: paused, paused_chats: chats } = this.state?.pace ?? {}
    say($('pace'), [
      `${(delivered / 10).toFixed(1)} messages/s${limits ? ` of ${count(limits.bot_per_second)}` : ''}`,
      paused ? `Telegram wants none for ${span(paused)}` : '',
      chats ? `${count(chats)} ${chats === 1 ? 'chat waits' : 'chats wait'} as Telegram asked` : '',
      differ ? 'the bridges have different limits' : '',
    ].filter(Boolean).join(' · '))
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
    const idle = processing ? '' : state.known.some(heard) ? ', and nothing is in flight' : ', and no bridge is running'
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

/** Those that the database knows of by their sweeps, then those that were asked at /readyz. */
function bridges({ known, replicas }) {
  // Where nobody answers, one may run all the same, and be known.
  const asked = replicas.filter(({ details }) => details || !known.length)
  return [
    ...known.map(({ seen_seconds: seen, ...one }, place) => (
      { ...one, key: `known ${place}`, seen: whole(seen), silent: !heard({ ...one, seen_seconds: seen }) }
    )),
    ...asked.map((one) => ({ ...one, key: one.url })),
  ]
}

/** Seconds that change when somebody would see it. */
const whole = (seconds) => (seconds < 60 ? Math.round(seconds / 5) * 5 : Math.floor(seconds / 60) * 60)

/** Whether it has swept when it said that it would, or a little later. */
function heard({ seen_seconds: seen, every_seconds: every }) {
  return seen <= 2 * (every ?? 30) + 10
}

function replica(bridge) {
  const item = node('li')
  const [word, mood, text] = bridge.url ? answered(bridge.details) : known(bridge)
  const name = bridge.url ?? `${bridge.name || 'a bridge'} ${bridge.version}`
  item.append(node('span', `word ${mood}`, word), node('span', 'what', `${name} ${text}`.trim()))
  return item
}

function known({ changes, broadcast, problem, per_second: rate, seen, silent }) {
  const bells = `changes ${changes ?? '–'}, broadcast ${broadcast ?? '–'}${problem ? ` (${problem})` : ''}`
  const limit = rate === null ? '' : `, up to ${count(rate)}/s`
  const text = `${bells}${limit}, swept ${seen < 5 ? 'just now' : `${span(seen)} ago`}`
  if (silent) return ['silent', 'warning', `${text}: it has stopped, or cannot reach the database`]
  return problem ? ['degraded', 'warning', text] : ['runs', 'ok', text]
}

function answered(details) {
  if (!details) return ['away', 'warning', 'does not answer: it may run elsewhere (--replica)']
  if (!details.ready) return ['not ready', 'failed', (details.reasons ?? []).join('; ')]
  const bells = details.doorbell
  if (!bells) return ['ready', 'ok', '']
  const why = details.degraded && bells.last_error ? ` (${bells.last_error})` : ''
  const text = `changes ${bells.changes}, broadcast ${bells.broadcast}${why}`
  return details.degraded ? ['degraded', 'warning', text] : ['ready', 'ok', text]
}
