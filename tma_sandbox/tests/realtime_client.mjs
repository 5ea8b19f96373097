// A supabase-js client that says on stdout what it hears and does what it is told on stdin.
// Usage: node realtime_client.mjs URL KEY VSN
import { createInterface } from 'node:readline'
import { createClient } from '@supabase/supabase-js'

const [url, key, vsn] = process.argv.slice(2)
const say = (...words) => console.log(JSON.stringify(words))

const client = createClient(url, key, { realtime: { vsn } })
const channel = client
  .channel('js', { config: { private: true, broadcast: { self: true, ack: true } } })
  .on('postgres_changes', { event: '*', schema: 'public', table: 'tma_events' }, (payload) =>
    say('change', payload.eventType, payload.new, payload.old)
  )
  .on('broadcast', { event: '*' }, ({ event, payload }) => say('broadcast', event, payload))
  .on('system', {}, ({ status, message }) => say('system', status, message))
  .subscribe((status, error) => say('status', status, error?.message))

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...words] = JSON.parse(line)
  if (verb === 'send') {
    const [event, payload] = words
    say('sent', await channel.send({ type: 'broadcast', event, payload }))
  } else if (verb === 'httpSend') {
    say('sent', await channel.httpSend(...words))
  } else if (verb === 'leave') {
    say('left', await channel.unsubscribe())
  }
}
process.exit() // whoever talked to us is gone
