// The table of rows: a line with a stop for each state.

import { $, Listing, node } from './dom.js'
import { clock, minute, moment, span } from './text.js'

const STOPS = ['claimed_ms', 'started_ms', 'sent_ms', 'ended_ms']

export class Ways {
  constructor() {
    this.lines = new Listing($('ways'), ({ id }) => id, drawn)
    this.first = true
  }

  show(ways) {
    const fresh = this.lines.show(ways)
    if (!this.first) for (const line of fresh) line.classList.add('new')
    this.first = false
    $('no-ways').hidden = ways.length > 0
    // Only a demo sees when Telegram got a message.
    $('sent').hidden = !ways.some((way) => 'sent_ms' in way)
  }
}

function drawn(way) {
  const line = node('tr', way.status)
  const name = node('th')
  name.scope = 'row'
  const link = node('a', 'id', `#${way.id}`)
  link.href = `#row-${way.id}`
  name.append(link, ' ', node('span', 'type', way.event_type))
  const below = way.error ?? (way.gathered_into ? `together with #${way.gathered_into}` : way.lead_name)
  if (below) name.append(node('span', 'lead', below))
  line.append(name, stop(clock(way.due_at)), ...STOPS.filter((key) => key in way).map((key) => stop(ms(way[key]))))
  const note = remark(way)
  if (note) line.lastElementChild.replaceChildren(node('span', 'note', note))
  return line
}

function stop(text) {
  const cell = node('td', text ? 'reached' : '')
  cell.append(node('span', '', text || '·'))
  return cell
}

/** What the last column says of a row that is not delivered. */
function remark({ status, failure, attempt, retry_at: retryAt, held_by: held }) {
  if (status === 'failed') return failure
  if (status === 'processing') return 'in flight'
  if (status === 'delivered') return ''
  if (status !== 'pending') return status // withdrawn, muted, or of a later version
  if (held === 'quiet') return `quiet until ${minute(retryAt)}`
  if (held === 'digest') return 'waits for others to go with it'
  if (retryAt) return `retry at ${moment(retryAt)}`
  return attempt ? 'waits again' : 'waits'
}

function ms(value) {
  if (value === null) return ''
  if (value >= 60_000) return `+${span(value / 1000)}`
  return value < 9.95 ? `+${value.toFixed(1)}` : `+${Math.round(value).toLocaleString('en')}`
}
