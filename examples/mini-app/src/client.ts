import { createClient, type SupabaseClient } from '@supabase/supabase-js'

/** Any supabase-js client that was made by createMiniAppClient, whatever tables it knows. */
export type MiniAppClient = SupabaseClient<any, any, any>

/**
 * A supabase-js client whose requests prove their user by Telegram's signature.
 *
 * `initData` is `Telegram.WebApp.initData` as it is. The database takes it for a day by default;
 * a Mini App that is open for longer has to be opened again.
 */
export function createMiniAppClient<Database = any>(
  url: string,
  anonKey: string,
  initData: string,
): SupabaseClient<Database> {
  return createClient<Database>(url, anonKey, {
    global: { headers: { 'x-telegram-init-data': initData } },
  })
}
