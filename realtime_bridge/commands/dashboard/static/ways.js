// The table of rows: a line with a stop for each state.

import { $, Listing, node } from './dom.js'
import { moment, span } from './text.js'

const STOPS = ['claimed_ms', 'started_ms', 'ended_ms']

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
  }
}

function drawn(way) {
  const line = node('tr', way.status)
  const name = node('th')
  name.scope = 'row'
  const link = node('a', 'id', `#${way.id}`)
  link.href = `#row-${way.id}`
  name.append(link, ' ', node('span', 'type', way.event_type))
  if (way.error) name.append(node('span', 'lead', way.error))
  line.append(name, stop(moment(way.due_at)), ...STOPS.map((key) => stop(ms(way[key]))))
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
function remark({ status, failure, attempt, retry_at: retryAt }) {
  if (status === 'failed') return failure
  if (status === 'processing') return 'in flight'
  if (status !== 'pending') return ''
  if (retryAt) return `retry at ${moment(retryAt)}`
  return attempt ? 'waits again' : 'waits'
}

function ms(value) {
  if (value === null) return ''
  if (value >= 60_000) return `+${span(value / 1000)}`
  return value < 9.95 ? `+${value.toFixed(1)}` : `+${Math.round(value).toLocaleString('en')}`
}
