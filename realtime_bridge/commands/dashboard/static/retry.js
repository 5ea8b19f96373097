// Giving failed rows another chance: always asked first, with how many it is about.

import { post } from './api.js'
import { ask } from './ask.js'
import { $, say } from './dom.js'
import { rows } from './text.js'

/** Ask and retry. `what` names the rows for a person. */
export async function retry(filters, what) {
  try {
    const counts = await post('/api/retry/count', filters)
    const choice = await agreed(counts, what)
    if (choice === null) return
    await act(filters, what, choice)
  } catch (error) {
    tell(error.message, 'bad')
  }
}

async function act(filters, what, choice) {
  const outcome = await post('/api/retry', { ...filters, uncertain: choice })
  if (!outcome.question) return tell(done(outcome), 'good')
  // More have become uncertain since: ask again, with today's numbers.
  const again = await agreed(outcome.question, what)
  if (again !== null) await act(filters, what, again)
}

function done({ rows: retried, matched }) {
  if (!matched) return 'No failed row matches any more.'
  return `${rows(retried)} pending again, of ${matched} that matched.`
}

/** Resolves to how many uncertain rows may be sent again, 'leave', or null for no retry at all. */
function agreed({ counts, uncertain }, what) {
  const total = Object.values(counts).reduce((a, b) => a + b, 0)
  const listed = Object.entries(counts).map(([why, number]) => `${number} ${why}`).join(', ')
  return ask({
    title: 'Retry',
    text: total ? `${rows(total)}: ${listed} (${what}).` : `There are no ${what}.`,
    warning: uncertain
      ? `${uncertain} of them may have been sent already. The users would get them twice.`
      : '',
    choices: choices(total, uncertain),
  })
}

/** The buttons, as ask() wants them. */
function choices(total, uncertain) {
  const other = uncertain ? `Retry the other ${total - uncertain}` : `Retry ${rows(total)}`
  return [
    ['Cancel', null, 'quiet'],
    ...(total > uncertain ? [[other, 'leave', '']] : []),
    ...(uncertain ? [[`Retry all ${total}, ${uncertain} maybe twice`, uncertain, 'danger']] : []),
  ]
}

function tell(text, mood) {
  say($('outcome'), text, `outcome ${mood}`)
}
