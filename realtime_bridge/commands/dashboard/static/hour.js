// How the last hour went.

import { Chart } from './chart.js'
import { $, Listing, node, say } from './dom.js'
import { count, span } from './text.js'

// The words that a row's failure may be, each with a colour of its own.
const REASONS = ['blocked', 'chat_not_found', 'rejected', 'uncertain', 'exhausted', 'invalid']

const time = (seconds) => (seconds === null ? '–' : span(seconds))

export class Hour {
  constructor() {
    const charts = $('charts')
    this.delivered = new Chart(charts, 'Delivered per minute')
    this.failed = new Chart(charts, 'Failed per minute')
    this.times = new Chart(charts, 'From due to delivered')
    this.minutes = new Listing($('minutes'), ({ ago }) => ago, drawn)
    this.last = null
    $('minutes-details').addEventListener('toggle', () => this.table())
  }

  show(hour) {
    this.last = hour
    const { minutes } = hour
    const of = (value) => minutes.map(value)
    const there = new Set(minutes.flatMap((minute) => Object.keys(minute.failed)))
    const failed = [...REASONS, ...there].filter((why, at, all) => there.has(why) && all.indexOf(why) === at)
    this.delivered.bars([{ name: 'delivered', className: 'delivered', values: of((minute) => minute.delivered) }])
    this.failed.bars(failed.map((why) => ({ name: why, className: why, values: of((minute) => minute.failed[why] ?? 0) })))
    this.times.lines([
      { name: 'p95', className: 'p95', values: of((minute) => minute.p95), total: hour.p95 },
      { name: 'p50', className: 'p50', values: of((minute) => minute.p50), total: hour.p50 },
    ])
    const sum = (value) => of(value).reduce((a, b) => a + b, 0)
    const total = sum((minute) => minute.delivered)
    const bad = sum((minute) => Object.values(minute.failed).reduce((a, b) => a + b, 0))
    say($('hour-total'), `${count(total)} delivered, ${count(bad)} failed`)
    this.table()
  }

  /** Sixty rows that nobody looks at need not be drawn. */
  table() {
    if (!this.last || !$('minutes-details').open) return
    this.minutes.show(this.last.minutes.map((minute, at) => ({ ...minute, ago: 59 - at })).reverse())
  }
}

function drawn({ ago, delivered, failed, p50, p95 }) {
  const line = node('tr')
  const head = node('th', '', String(ago))
  head.scope = 'row'
  const reasons = Object.entries(failed).map(([why, number]) => `${count(number)} ${why}`).join(', ')
  const cells = [count(delivered), reasons || '0', time(p50), time(p95)]
  line.append(head, ...cells.map((text) => node('td', '', text)))
  return line
}
