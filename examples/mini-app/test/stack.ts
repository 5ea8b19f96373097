// The embedded stack that the tests run against; its settings come from the environment, or from
// the .env.local that `realtime-bridge local` writes.
import assert from 'node:assert/strict'
import { createHmac, randomInt } from 'node:crypto'
import { createClient } from '@supabase/supabase-js'

function setting(name: string): string {
  const value = process.env[name]
  assert.ok(value, `${name} is not set: these tests need a running \`realtime-bridge local\``)
  return value
}

export const url = setting('SUPABASE_URL')
export const anonKey = setting('SUPABASE_ANON_KEY')

/** May do what the bridge may. */
export const service = createClient(url, setting('SUPABASE_KEY'))

/** What the bridge does at its start: from then on users of its bot are known. */
export async function registerBot(): Promise<void> {
  const token = setting('BOT_TOKEN')
  const key = createHmac('sha256', 'WebAppData').update(token).digest('hex')
  await service
    .rpc('register_tma_bot', { p_bot_id: Number(token.split(':')[0]), p_key: key })
    .throwOnError()
}

/** A Telegram user whom nobody has seen before, with the initData of a Mini App. */
export async function newUser(): Promise<{ id: number; initData: string }> {
  const id = randomInt(1, 2 ** 40)
  return { id, initData: await sign(id) }
}

/** The initData of a user, signed now or at `authDate` (seconds since 1970). */
export async function sign(userId: number, authDate?: number): Promise<string> {
  const user = { id: userId, first_name: 'Zoë & Co', language_code: 'en' }
  const response = await fetch(`${url}/_sign`, {
    method: 'POST',
    body: JSON.stringify({ user, ...(authDate && { auth_date: authDate }) }),
  })
  return ((await response.json()) as { init_data: string }).init_data
}

/** The rows of a user, oldest first. */
export async function rowsOf(table: string, userId: number): Promise<any[]> {
  const { data } = await service
    .from(table)
    .select()
    .eq('telegram_id', userId)
    .order('id')
    .throwOnError()
  return data
}

/** What `look` finds, as soon as it finds something. Gives up after ten seconds. */
export async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + 10_000
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    assert.ok(performance.now() < end, `waited in vain for ${look}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
