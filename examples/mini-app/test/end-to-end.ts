// From the Mini App to the chat and back, with a bridge running whose reminders of today are due:
// REMINDER_TIME=00:00 realtime-bridge run
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import {
  createMiniAppClient,
  type MiniAppClient,
  requestPlan,
  sendEvent,
  setChatSettings,
  waitForDelivery,
  withdrawEvent,
} from '../src/index.ts'
import { anonKey, eventually, newUser, url } from './stack.ts'

let user: { id: number; initData: string }
let client: MiniAppClient

beforeEach(async () => {
  user = await newUser()
  client = createMiniAppClient(url, anonKey, user.initData)
})

test('an event becomes a message', async () => {
  await sendEvent(client, {
    eventType: 'status_changed',
    leadId: 7,
    payload: { lead_name: 'Ann', new_status: 'Won' },
  })

  assert.deepEqual(await told(1), ['Lead status updated: Ann → Won'])
})

test('the app learns what became of its events', async () => {
  const won = { eventType: 'status_changed', payload: { lead_name: 'Ann', new_status: 'Won' } }
  const deliverAfter = new Date(Date.now() + 3_600_000)
  await setChatSettings(client, { muted: ['step_skipped'] })
  const muted = await sendEvent(client, { eventType: 'step_skipped' })
  const withdrawn = await sendEvent(client, { ...won, deliverAfter, dedupeKey: 'later' })
  await withdrawEvent(client, 'later')
  const delivered = await sendEvent(client, won)

  const ends = await Promise.all(
    [muted, withdrawn, delivered].map((id) => waitForDelivery(client, id, { pollMs: 100 })),
  )

  assert.deepEqual(
    ends.map(({ status }) => status),
    ['muted', 'withdrawn', 'delivered'],
  )
  assert.ok(ends[2]?.messageId)
  assert.deepEqual(await told(1), ['Lead status updated: Ann → Won'])
})

test('a plan comes back, the chat is told, and what is done needs no reminder', async () => {
  const plan = await requestPlan(client, 8, { payload: { lead_name: 'Ann' }, pollMs: 100 })
  const [first, second] = plan.steps
  const texts = await told(2)
  await sendEvent(client, {
    eventType: 'step_completed',
    leadId: 8,
    payload: { step_id: second?.step_id },
  })

  assert.equal(plan.summary, 'The first two weeks with Ann.')
  assert.deepEqual(texts, [
    `Plan for Ann is ready: ${plan.steps.length} steps, first due today.\n${plan.summary}`,
    `Reminder for Ann: Step ${first?.step_id} — ${first?.description} (due today)`,
  ])
  assert.deepEqual(
    await reminders(),
    plan.steps.slice(2).map((step) => step.step_id),
  )
})

/** What the user reads in the chat, when it is so much. */
async function told(count: number): Promise<string[]> {
  return eventually(async () => {
    const sent = (await (await fetch(`${url}/_sent`)).json()) as { chat_id: number; text: string }[]
    const texts = sent.filter((message) => message.chat_id === user.id).map(({ text }) => text)
    return texts.length >= count ? texts : undefined
  })
}

/** The steps of which the chat will be reminded. */
async function reminders(): Promise<unknown[]> {
  const { data } = await client
    .from('tma_events')
    .select('payload')
    .match({ event_type: 'step_due', status: 'pending' })
    .order('deliver_after')
    .throwOnError()
  return data.map(({ payload }) => payload.step_id)
}
