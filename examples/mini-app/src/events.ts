import { ask, isDuplicate } from './ask.ts'
import type { BridgeClient, MiniAppClient, Sparse } from './client.ts'
import type { Json, TablesInsert } from './database.types.ts'
import { Unreachable } from './errors.ts'
import { persistently, type SendOptions } from './retrying.ts'

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

/** Where an event is in its life; the last four are its ends. */
export type EventStatus = 'pending' | 'processing' | 'delivered' | 'failed' | 'withdrawn' | 'muted'

/** What became of a wish to change an event. */
export interface EventChange {
  id: number
  status: EventStatus
  /** False if it was too late: a bridge has it, or had it, or it has ended. */
  done: boolean
}

/**
 * Inserts an event, once, however often it has to try. Resolves with its id, for waitForDelivery:
 * that of the first one, if there is one with this `dedupeKey` already.
 *
 * Throws NotAllowed or Refused at once, Unreachable when the last try has failed (it may have
 * arrived nevertheless: send it again with a `dedupeKey` of your own), and the signal's reason
 * when that aborts.
 */
export async function sendEvent(
  client: MiniAppClient,
  event: MiniAppEvent,
  options: SendOptions = {},
): Promise<number> {
  const bridge: BridgeClient = client
  const dedupeKey = event.dedupeKey ?? crypto.randomUUID()
  const row: Sparse<TablesInsert<'tma_events'>> = {
    event_type: event.eventType,
    lead_id: event.leadId,
    payload: event.payload as Json | undefined,
    deliver_after: event.deliverAfter?.toISOString(),
    dedupe_key: dedupeKey,
  }
  const { signal, requestMs = 10_000 } = options
  const insert = () =>
    ask(requestMs, signal, (limit) =>
      bridge
        .from('tma_events')
        .insert(row as TablesInsert<'tma_events'>)
        .select('id')
        .abortSignal(limit)
        .single(),
    )
  const find = () =>
    ask(requestMs, signal, (limit) =>
      bridge
        .from('tma_events')
        .select('id')
        .eq('dedupe_key', dedupeKey)
        .abortSignal(limit)
        .retry(false)
        .maybeSingle(),
    )
  return persistently(async () => {
    const sent = await insert().catch((error: unknown) => {
      if (!isDuplicate(error)) throw error
      return find() // an earlier try arrived, only its answer did not
    })
    if (!sent) throw new Unreachable('the event has gone since it was sent')
    return sent.id
  }, options)
}

/**
 * Takes back the user's event with this dedupe key, if no bridge has begun to send it.
 *
 * Null if there is no such event. Tries as hard as sendEvent, and throws the same.
 */
export function withdrawEvent(
  client: MiniAppClient,
  dedupeKey: string,
  options: SendOptions = {},
): Promise<EventChange | null> {
  const bridge: BridgeClient = client
  return change(options, (limit) =>
    bridge.rpc('withdraw_tma_event', { p_dedupe_key: dedupeKey }).abortSignal(limit),
  )
}

/**
 * Gives the user's event with this dedupe key another time, if no bridge has begun to send it.
 *
 * Null if there is no such event. Tries as hard as sendEvent, and throws the same.
 */
export function rescheduleEvent(
  client: MiniAppClient,
  dedupeKey: string,
  at: Date,
  options: SendOptions = {},
): Promise<EventChange | null> {
  const bridge: BridgeClient = client
  const wish = { p_dedupe_key: dedupeKey, p_at: at.toISOString() }
  return change(options, (limit) => bridge.rpc('reschedule_tma_event', wish).abortSignal(limit))
}

async function change(
  options: SendOptions,
  request: Parameters<typeof ask<Json | null>>[2],
): Promise<EventChange | null> {
  const { signal, requestMs = 10_000 } = options
  const answer = await persistently(() => ask(requestMs, signal, request), options)
  return answer as unknown as EventChange | null
}
