// A Mini App and a doorbell in one: inserts with the anon key and initData, hears it with the
// service key. Usage: node gateway_client.mjs URL ANON_KEY SERVICE_KEY INIT_DATA
import { createClient } from '@supabase/supabase-js'

const [url, anonKey, serviceKey, initData] = process.argv.slice(2)
const listener = createClient(url, serviceKey)
const miniApp = createClient(url, anonKey, {
  global: { headers: { 'x-telegram-init-data': initData } },
})

let ready, heard
const subscribed = new Promise((resolve) => (ready = resolve))
const change = new Promise((resolve) => (heard = resolve))
listener
  .channel('any')
  .on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'tma_events' }, heard)
  .on('system', {}, (message) => message.extension === 'postgres_changes' && ready(message.status))
  .subscribe()

const system = await subscribed
const insert = await miniApp
  .from('tma_events')
  .insert({ event_type: 'lead_assigned', payload: { lead_name: 'Ann "A" & <B>' } })
const own = await miniApp.from('tma_events').select('telegram_id, payload')
const count = await miniApp.from('tma_events').select('*', { count: 'exact', head: true })
const without = await createClient(url, anonKey).from('tma_events').select('id')
const pushed = await change
console.log(
  JSON.stringify({
    system,
    insert: insert.status,
    own: own.data,
    count: count.count ?? count.error,
    without: without.data ?? without.error,
    pushed: pushed.new.payload,
  })
)
process.exit()
