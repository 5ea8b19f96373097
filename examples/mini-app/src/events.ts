import { ask, isDuplicate } from './ask.ts'
import type { BridgeClient, MiniAppClient, Sparse } from './client.ts'
import type { Json, TablesInsert } from './database.types.ts'
import { Unreachable } from './errors.ts'
import { pause, waits } from './waiting.ts'

const PATIENCE = { first: 500, cap: 8_000, count: 5, random: Math.random }

/** Something the user did, of which the bot is to write to the chat. */
export interface MiniAppEvent {
  /** Names the message's template, for example `step_completed`. */
  eventType: string
  leadId?: number | null
  /** What the template fills in. */
  payload?: object
  /** When to send it; at once if left out. */
  deliverAfter?: Date
  /** Your own name for it: of several events with one key the first counts. Else made up. */
  dedupeKey?: string
}

/** How hard sendEvent tries. */
export interface SendOptions {
  signal?: AbortSignal
  /** Milliseconds to wait before each further try; about 10 s in all if left out. */
  retries?: Iterable<number>
  /** Milliseconds that one try may take. */
  requestMs?: number
}

/**
 * Inserts an event, once, however often it has to try.
 *
 * Throws NotAllowed or Refused at once, Unreachable when the last try has failed (it may have
 * arrived nevertheless: send it again with a `dedupeKey` of your own), and the signal's reason
 * when that aborts.
 */
export async function sendEvent(
  client: MiniAppClient,
  event: MiniAppEvent,
  { signal, retries = waits(PATIENCE), requestMs = 10_000 }: SendOptions = {},
): Promise<void> {
  const bridge: BridgeClient = client
  const row: Sparse<TablesInsert<'tma_events'>> = {
    event_type: event.eventType,
    lead_id: event.leadId,
    payload: event.payload as Json | undefined,
    deliver_after: event.deliverAfter?.toISOString(),
    dedupe_key: event.dedupeKey ?? crypto.randomUUID(),
  }
  const insert = () =>
    ask(requestMs, signal, (limit) =>
      bridge
        .from('tma_events')
        .insert(row as TablesInsert<'tma_events'>)
        .abortSignal(limit),
    )
  try {
    await persistently(insert, retries, signal)
  } catch (error) {
    // An earlier try arrived, only its answer did not.
    if (!isDuplicate(error)) throw error
  }
}

async function persistently(
  work: () => Promise<unknown>,
  retries: Iterable<number>,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const wait of retries) {
    try {
      await work()
      return
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error
    }
    await pause(wait, signal)
  }
  await work()
}
