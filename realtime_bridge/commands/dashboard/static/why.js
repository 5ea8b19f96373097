// Why a row is where it is, in words: what the database says of its turn.

import { count, moment, ordinal, rows, span } from './text.js'

const WAITS = {
  scheduled: (time) => `It is due in ${time}.`,
  retry: (time) => `It is tried again in ${time}.`,
  chat_turn: (time) => `Its chat's turn is in ${time}.`,
  quiet: (time, _, at) => `Quiet hours of its chat: until ${at}.`,
  digest: (time) => `It waits ${time} for others to go with it.`,
  rows_before: (time) => `A row before it waits for ${time} yet.`,
  chat_paused: (time) => `Telegram wants nothing for this chat for ${time}.`,
  chat_pace: (time) => `By its chat's pace, its turn is in ${time} at the earliest.`,
  bot_paused: (time) => `Telegram wants nothing from this bot for ${time}.`,
  bot_pace: (time, heads) => `${rows(heads)} of other chats ${heads === 1 ? 'is' : 'are'} due before it: by the bot's pace, its turn is in about ${time}.`,
}

/** One or a few sentences for a person. */
export function why(row) {
  switch (row.status) {
    case 'delivered':
      return `Delivered, as message ${row.message_id ?? 'unknown'}.`
    case 'failed':
      return `Failed: ${row.failure}. ${row.error ?? ''}`
    case 'processing':
      return row.send_started_at ? 'On its way: Telegram has been asked.' : 'A bridge has it, and has not sent it yet.'
    case 'pending':
      return row.turn ? waits(row.turn, row.error) : 'Waits.'
    default:
      return `It is ${row.status}.`
  }
}

function waits({ why: reason, seconds, before, first_id: first, heads }, error) {
  const said = [
    before >= 1000 ? `1,000 or more rows of its chat go before it, first #${first}.` : '',
    before && before < 1000 ? `It is the ${ordinal(before + 1)} in its chat, behind #${first}.` : '',
    reason ? WAITS[reason]?.(span(seconds), heads, moment(Date.now() + seconds * 1000)) ?? `${reason}: ${span(seconds)}.` : '',
    error ? `Last time: ${error}` : '',
  ].filter(Boolean)
  return said.length ? `Waits. ${said.join(' ')}` : `Waits for the next claim${heads ? `, behind ${count(heads)} of other chats` : ''}.`
}
