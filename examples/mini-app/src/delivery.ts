import { ask } from './ask.ts'
import type { BridgeClient, MiniAppClient } from './client.ts'
import { DeliveryTimeout, Refused } from './errors.ts'
import type { EventStatus } from './events.ts'
import { Poll, type PollOptions, TimeUp } from './polling.ts'

const COLUMNS = 'status, message_id, failure, error'

/** How an event ended. */
export interface Delivery {
  /** muted: the user does not want to be told events of this type. */
  status: 'delivered' | 'failed' | 'withdrawn' | 'muted'
  /** Telegram's id of the message in the chat, of a delivered one. */
  messageId: number | null
  /** Of a failed one: blocked, chat_not_found, rejected, uncertain, exhausted or invalid. */
  failure: string | null
  /** The same for people. */
  error: string | null
}

interface Row {
  status: EventStatus
  message_id: number | null
  failure: string | null
  error: string | null
}

/**
 * Waits until an event has ended, in whatever way. `id` is what sendEvent resolves with.
 *
 * Throws DeliveryTimeout (it goes on: wait again), Refused if there is no such event of the user,
 * NotAllowed, and the signal's reason when that aborts.
 */
export async function waitForDelivery(
  client: MiniAppClient,
  id: number,
  options: PollOptions = {},
): Promise<Delivery> {
  const bridge: BridgeClient = client
  const poll = new Poll(options)
  let status: EventStatus | null = null
  const look = async () => {
    const row = await ask(poll.limitMs(), poll.signal, (limit) =>
      bridge
        .from('tma_events')
        .select<typeof COLUMNS, Row>(COLUMNS)
        .eq('id', id)
        .abortSignal(limit)
        .retry(false)
        .maybeSingle(),
    )
    if (!row) {
      const hint = 'It is another user\u2019s, or so old that it has been deleted.'
      throw new Refused(`this user has no event ${id}`, 'PGRST116', hint)
    }
    status = row.status
    return ended(row)
  }
  try {
    return await poll.until(look)
  } catch (error) {
    if (!(error instanceof TimeUp)) throw error
    throw new DeliveryTimeout(poll.timeoutMs, id, status, error.cause)
  }
}

function ended({ status, message_id, failure, error }: Row): Delivery | null {
  if (status === 'pending' || status === 'processing') return null
  return { status, messageId: message_id, failure, error }
}
