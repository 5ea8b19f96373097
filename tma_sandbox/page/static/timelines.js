// The table of rows: a line with a stop for each state, redrawn when the row has changed.

import { node } from './chat.js'

const STOPS = ['claimed_ms', 'fence_ms', 'sent_ms', 'delivered_ms']

/** Shows rows in a table's body, newest first. */
export class Timelines {
  constructor(body) {
    this.body = body
    this.lines = new Map()
  }

  /** Show exactly these rows (oldest first). */
  show(rows) {
    const first = !this.lines.size
    for (const row of rows) {
      const state = JSON.stringify(row)
      const known = this.lines.get(row.id)
      if (known?.state === state) continue
      const line = drawn(row)
      this.lines.set(row.id, { state, line })
      if (known) known.line.replaceWith(line)
      else this.body.prepend(line)
      line.classList.toggle('new', !known && !first)
    }
    this.forgetBefore(rows[0]?.id)
  }

  forgetBefore(oldest) {
    for (const [id, { line }] of this.lines) {
      if (id >= oldest) continue
      line.remove()
      this.lines.delete(id)
    }
  }
}

function drawn(row) {
  const line = node('tr', row.status)
  const name = node('th')
  name.scope = 'row'
  name.append(node('span', 'id', `#${row.id}`), ' ', node('span', 'type', row.event_type))
  if (row.lead_name) name.append(node('span', 'lead', row.lead_name))
  line.append(name, stop(clock(row.inserted)), ...STOPS.map((key) => stop(ms(row[key]))))
  const note = remark(row)
  if (note) line.lastElementChild.replaceChildren(node('span', 'note', note))
  return line
}

function stop(text) {
  const cell = node('td', text ? 'reached' : '')
  cell.append(node('span', '', text || '·'))
  return cell
}

/** The text of the last column for a row that is not delivered. */
function remark({ status, failure, attempt }) {
  if (status === 'failed') return failure
  if (status === 'pending' && attempt) return 'waiting to retry'
  return ''
}

function ms(value) {
  if (value === null) return ''
  return value < 9.95 ? `+${value.toFixed(1)}` : `+${Math.round(value).toLocaleString('en')}`
}

function clock(seconds) {
  const at = new Date(seconds * 1000)
  const text = at.toLocaleTimeString('en-GB')
  return `${text}.${String(at.getMilliseconds()).padStart(3, '0')}`
}
