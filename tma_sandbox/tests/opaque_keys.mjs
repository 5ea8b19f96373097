// The secret key listens on a private channel, the publishable one broadcasts over HTTP.
// Usage: node opaque_keys.mjs URL PUBLISHABLE_KEY SECRET_KEY
import { createClient } from '@supabase/supabase-js'

const [url, publishableKey, secretKey] = process.argv.slice(2)
const service = createClient(url, secretKey)
const page = createClient(url, publishableKey)

// The client tries again by itself where a restart of the database is not over yet.
const joined = (channel) =>
  new Promise((resolve) =>
    channel.subscribe((status) => status === 'SUBSCRIBED' && resolve(status))
  )
const privately = await joined(service.channel('bell', { config: { private: true } }))

const room = service.channel('room')
const message = new Promise((resolve) => room.on('broadcast', { event: 'note' }, resolve))
await joined(room)
await page.channel('room').httpSend('note', { n: 1 })

const stats = await service.rpc('tma_event_stats')
const own = await page.from('tma_events').select('id')
console.log(
  JSON.stringify({
    private: privately,
    heard: (await message).payload,
    stats: stats.status,
    own: own.data,
  })
)
process.exit()
