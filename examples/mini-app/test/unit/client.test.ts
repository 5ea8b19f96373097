import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { createMiniAppClient, sendEvent } from '../../src/index.ts'

test('every request proves its user, and columns that are not given are left out', async () => {
  const created = async () => Response.json({ id: 7 }, { status: 201 })
  const fetched = mock.method(globalThis, 'fetch', created)
  const client = createMiniAppClient('https://example.test', 'anon', 'user=1&hash=2')

  await sendEvent(client, { eventType: 'step_completed', leadId: 42, dedupeKey: 'mine' })

  const [address, request] = fetched.mock.calls[0]!.arguments
  assert.equal(new URL(String(address)).pathname, '/rest/v1/tma_events')
  assert.equal(new Headers(request?.headers).get('x-telegram-init-data'), 'user=1&hash=2')
  assert.deepEqual(JSON.parse(String(request?.body)), {
    event_type: 'step_completed',
    lead_id: 42,
    dedupe_key: 'mine',
  })
  fetched.mock.restore()
})

// Not called: whether it compiles is the test. `npm run check` fails on an error that is not there
// just as on one that is.
export async function knowsTheTables() {
  const client = createMiniAppClient('https://example.test', 'anon', '')
  await client.from('tma_events').insert({ event_type: 'step_completed', lead_id: 42 })
  // @ts-expect-error: there is no such table
  client.from('tma_event')
  // @ts-expect-error: there is no such column
  await client.from('tma_events').insert({ event_type: 'step_completed', lead: 42 })
  // @ts-expect-error: an event has a type
  await client.from('tma_events').insert({ lead_id: 42 })
  // @ts-expect-error: numbers are numbers
  await client.from('plan_requests').insert({ lead_id: '42' })
}

export async function takesTypesOfYourOwn() {
  type Own = { public: { Tables: { leads: Table }; Views: {}; Functions: {} } }
  type Table = { Row: { id: number }; Insert: { id: number }; Update: {}; Relationships: [] }
  const client = createMiniAppClient<Own>('https://example.test', 'anon', '')
  await client.from('leads').insert({ id: 1 })
  await sendEvent(client, { eventType: 'ping' })
  // @ts-expect-error: then it knows no others
  client.from('tma_events')
}
