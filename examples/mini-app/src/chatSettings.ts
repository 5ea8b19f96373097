import { ask } from './ask.ts'
import type { BridgeClient, MiniAppClient, Sparse } from './client.ts'
import type { TablesInsert } from './database.types.ts'
import { persistently, type SendOptions } from './retrying.ts'

const COLUMNS = 'timezone, quiet_from, quiet_to, muted'

/** What the user wants of the bot in their chat. */
export interface ChatSettings {
  /** For the quiet hours: a name (Europe/Kyiv) or an offset (+02:00); null: the default. */
  timezone: string | null
  /** When messages begin to wait, but urgent ones; null, both: the default, often never. */
  quietFrom: string | null
  /** When they are sent again; the next day if before. */
  quietTo: string | null
  /** Event types that are not told at all. */
  muted: string[]
}

interface Row {
  timezone: string | null
  quiet_from: string | null
  quiet_to: string | null
  muted: string[]
}

/** The user's settings; those of somebody who has never set any, if so. */
export async function getChatSettings(
  client: MiniAppClient,
  options: SendOptions = {},
): Promise<ChatSettings> {
  const bridge: BridgeClient = client
  const { signal, requestMs = 10_000 } = options
  const row = await persistently(
    () =>
      ask(requestMs, signal, (limit) =>
        bridge
          .from('tma_chat_settings')
          .select<typeof COLUMNS, Row>(COLUMNS)
          .abortSignal(limit)
          .retry(false)
          .maybeSingle(),
      ),
    options,
  )
  return row ? settingsOf(row) : { timezone: null, quietFrom: null, quietTo: null, muted: [] }
}

/**
 * Changes the user's settings; what is left out stays as it is. Resolves with all of them.
 *
 * They count at once, also for messages that wait. Give `quietFrom` and `quietTo` together. Tries as
 * hard as sendEvent, and throws the same.
 */
export async function setChatSettings(
  client: MiniAppClient,
  changes: Partial<ChatSettings>,
  options: SendOptions = {},
): Promise<ChatSettings> {
  const bridge: BridgeClient = client
  const row: Sparse<TablesInsert<'tma_chat_settings'>> = {
    timezone: changes.timezone,
    quiet_from: changes.quietFrom,
    quiet_to: changes.quietTo,
    muted: changes.muted,
  }
  const { signal, requestMs = 10_000 } = options
  const written = await persistently(
    () =>
      ask(requestMs, signal, (limit) =>
        bridge
          .from('tma_chat_settings')
          .upsert(row as TablesInsert<'tma_chat_settings'>)
          .select<typeof COLUMNS, Row>(COLUMNS)
          .abortSignal(limit)
          .single(),
      ),
    options,
  )
  return settingsOf(written as Row) // else it would be an error
}

function settingsOf({ timezone, quiet_from, quiet_to, muted }: Row): ChatSettings {
  return { timezone, quietFrom: quiet_from, quietTo: quiet_to, muted }
}
