import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import type { Database } from './database.types.ts'

/** Any supabase-js client that was made by createMiniAppClient, whatever tables it knows. */
export type MiniAppClient = SupabaseClient<any, any, any>

/** A client that knows the bridge's tables, and refuses to compile where they are misspelt. */
export type BridgeClient = SupabaseClient<Database>

/** A row with `undefined` where a column is to be left out, as JSON leaves it out. */
export type Sparse<Row> = {
  [Column in keyof Row]: {} extends Pick<Row, Column> ? Row[Column] | undefined : Row[Column]
}

/**
 * A supabase-js client whose requests prove their user by Telegram's signature.
 *
 * `initData` is `Telegram.WebApp.initData` as it is. The database takes it for a day by default;
 * a Mini App that is open for longer has to be opened again.
 *
 * Tables and columns are those of database.types.ts, or of types of your own.
 */
export function createMiniAppClient<Tables = Database>(
  url: string,
  anonKey: string,
  initData: string,
): SupabaseClient<Tables> {
  return createClient<Tables>(url, anonKey, {
    global: { headers: { 'x-telegram-init-data': initData } },
  })
}
