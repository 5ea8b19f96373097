// Why a row is where it is, in words: what the database says of its turn.

import { count, minute, ordinal, rows, span } from './text.js'

const WAITS = {
  scheduled: (time) => `It is due in ${time}.`,
  retry: (time) => `It is tried again in ${time}.`,
  chat_turn: (time) => `Its chat's turn is in ${time}.`,
  quiet: (time, _, at) => `Its chat is quiet until ${minute(at)}.`,
  digest: (time) => `It waits for others to go with it, for ${time}.`,
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
      return delivered(row)
    case 'failed':
      return `Failed: ${row.failure}. ${row.error ?? ''}`
    case 'processing':
      return row.send_started_at ? 'On its way: Telegram has been asked.' : 'A bridge has it, and has not sent it yet.'
    case 'pending':
      return row.turn ? waits(row.turn, row.error) : 'Waits.'
    case 'withdrawn':
      return `Withdrawn: it is never sent.${row.error ? ` Why: ${row.error}.` : ''}`
    case 'muted':
      return 'Muted: its chat wants no events of this type, so it was not sent.'
    default:
      return `It is ${row.status}.`
  }
}

function delivered({ message_id: message, gathered_into: first, edits }) {
  const name = `message ${message ?? 'unknown'}`
  if (edits) return `Delivered: it edited ${name}.`
  return first ? `Delivered in ${name}, together with row #${first}.` : `Delivered, as ${name}.`
}

function waits({ why: reason, seconds, before, first_id: first, heads }, error) {
  const said = [
    before >= 1000 ? `1,000 or more rows of its chat go before it, first #${first}.` : '',
    before && before < 1000 ? `It is the ${ordinal(before + 1)} in its chat, behind #${first}.` : '',
    reason ? WAITS[reason]?.(span(seconds), heads, Date.now() + seconds * 1000) ?? `${reason}: ${span(seconds)}.` : '',
    error ? `Last time: ${error}` : '',
  ].filter(Boolean)
  return said.length ? `Waits. ${said.join(' ')}` : `Waits for the next claim${heads ? `, behind ${count(heads)} of other chats` : ''}.`
}
