// Taking back rows that still wait: always asked first.

import { post } from './api.js'
import { ask } from './ask.js'
import { rows as counted } from './text.js'

/** Ask and withdraw. Return [what became of it, mood], or null if nothing was to be done. */
export function withdraw(id) {
  const text = `Row #${id} still waits. Withdrawn, it is never sent, and cannot be sent again.`
  return agreed(text, 'Withdraw 1 row', async () => done(await post('/api/withdraw', { ids: [Number(id)] })))
}

/** The same for all rows of a type, as many as somebody has seen waiting. */
export function withdrawType(type, rows) {
  const text = `${counted(rows)} of ${type} ${rows === 1 ? 'waits' : 'wait'}, also those scheduled for later.`
    + ' Withdrawn, they are never sent, and cannot be sent again.'
  return agreed(text, `Withdraw ${counted(rows)}`, async () => {
    const { rows: withdrawn } = await post('/api/withdraw/type', { event_type: type, rows })
    return [`${counted(withdrawn)} of ${type} withdrawn.`, 'good']
  })
}

async function agreed(text, words, act) {
  const choices = [['Cancel', null, 'quiet'], [words, true, 'danger']]
  if (await ask({ title: 'Withdraw', text, choices }) === null) return null
  try {
    return await act()
  } catch (error) {
    return [error.message, 'bad']
  }
}

function done({ rows, gone }) {
  if (!gone.length) return [`${rows} row withdrawn.`, 'good']
  return [`Not withdrawn: row #${gone[0]} no longer waits.`, 'bad']
}
