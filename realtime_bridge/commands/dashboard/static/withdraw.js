// Taking back a row that still waits: always asked first.

import { post } from './api.js'
import { ask } from './ask.js'

/** Ask and withdraw. Return [what became of it, mood], or null if nothing was to be done. */
export async function withdraw(id) {
  const choice = await ask({
    title: 'Withdraw',
    text: `Row #${id} still waits. Withdrawn, it is never sent, and cannot be sent again.`,
    choices: [['Cancel', null, 'quiet'], ['Withdraw 1 row', true, 'danger']],
  })
  if (choice === null) return null
  try {
    return done(await post('/api/withdraw', { ids: [Number(id)] }))
  } catch (error) {
    return [error.message, 'bad']
  }
}

function done({ rows, gone }) {
  if (!gone.length) return [`${rows} row withdrawn.`, 'good']
  return [`Not withdrawn: row #${gone[0]} no longer waits.`, 'bad']
}
