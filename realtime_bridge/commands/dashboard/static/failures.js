// Failed rows by reason, each with what Telegram said.

import { $, button, Listing, node } from './dom.js'
import { count, moment, rows } from './text.js'

const DAY_MS = 24 * 3600 * 1000
const MEANING = {
  blocked: 'The user blocked the bot or never started it. A retry helps only if that has changed.',
  chat_not_found: 'There is no such chat.',
  rejected: 'Telegram refused the message itself: fix the template first.',
  uncertain: 'It may have been sent, and nobody can know. A retry may send it twice.',
  exhausted: 'It failed for now, again and again. When the cause is gone, retry.',
  invalid: 'The bridge cannot read the row: mend it first.',
}

export class Failures {
  /** `retry(filters, what)` is called when somebody presses a button. */
  constructor(retry) {
    this.reasons = new Listing($('reasons'), ({ failure }) => failure, (reason) => drawn(reason, retry))
    $('range').addEventListener('submit', (event) => {
      event.preventDefault()
      const { failure, since, until } = Object.fromEntries(new FormData(event.target))
      const filters = {
        since: new Date(since).toISOString(),
        ...(failure && { failure }),
        ...(until && { until: new Date(until).toISOString() }),
      }
      retry(filters, `rows that failed from ${moment(since)} to ${until ? moment(until) : 'now'}`)
    })
  }

  show(failures) {
    const reasons = new Map()
    for (const one of failures) {
      const reason = reasons.get(one.failure) ?? { failure: one.failure, events: one.of_failure, texts: [] }
      reason.texts.push(one)
      reasons.set(one.failure, reason)
    }
    this.reasons.show([...reasons.values()])
    $('no-failures').hidden = reasons.size > 0
  }
}

function drawn({ failure, events, texts }, retry) {
  const item = node('li')
  const head = node('div', 'reason')
  const title = node('h3')
  title.append(node('i', failure), `${failure}: ${rows(events)}`)
  const since = () => new Date(Date.now() - DAY_MS).toISOString()
  head.append(title, button(`Retry ${failure}…`, () =>
    retry({ failure, since: since() }, `rows that failed as ${failure} in the last 24 hours`)))
  const list = node('ul')
  list.append(...texts.map(said))
  item.append(head, node('p', 'meaning', MEANING[failure] ?? ''), list)
  return item
}

function said({ error, events, last_at: last, latest_ids: ids }) {
  const item = node('li')
  item.append(
    node('q', '', error ?? 'no text'),
    node('span', 'soft', ` ${count(events)} times, last at ${moment(last)}: `),
  )
  for (const id of ids) {
    const link = node('a', '', `#${id}`)
    link.href = `#row-${id}`
    item.append(link, ' ')
  }
  if (events > ids.length) item.append(node('span', 'soft', '…'))
  return item
}
