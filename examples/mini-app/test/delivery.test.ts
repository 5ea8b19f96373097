import assert from 'node:assert/strict'
import { afterEach, before, beforeEach, describe, test } from 'node:test'
import {
  createMiniAppClient,
  DeliveryTimeout,
  type MiniAppClient,
  NotAllowed,
  type PollOptions,
  Refused,
  sendEvent,
  waitForDelivery,
  withdrawEvent,
} from '../src/index.ts'
import { anonKey, newUser, registerBot, service, url } from './stack.ts'
import { Wire } from './wire.ts'

const QUICK: PollOptions = { pollMs: 10 }
const STEP = { eventType: 'step_completed', dedupeKey: 'mine' }
const NONE = { messageId: null, failure: null, error: null }

describe('waitForDelivery', () => {
  let wire: Wire
  let client: MiniAppClient
  let id: number

  before(registerBot)
  beforeEach(async () => {
    wire = await new Wire(url).up()
    client = createMiniAppClient(wire.url, anonKey, (await newUser()).initData)
    id = await sendEvent(client, STEP)
  })
  afterEach(() => wire.down())

  test('resolves when the message is in the chat', async () => {
    const waiting = waitForDelivery(client, id, QUICK)
    await wire.answered('GET')
    await ends({ status: 'delivered', delivered_at: new Date(), message_id: 5 })

    assert.deepEqual(await waiting, { ...NONE, status: 'delivered', messageId: 5 })
  })

  test('resolves with the reason when it failed', async () => {
    await ends({ status: 'failed', failure: 'blocked', error: 'the user blocked the bot' })

    assert.deepEqual(await waitForDelivery(client, id, QUICK), {
      status: 'failed',
      messageId: null,
      failure: 'blocked',
      error: 'the user blocked the bot',
    })
  })

  test('resolves when it was withdrawn or muted', async () => {
    const waiting = waitForDelivery(client, id, QUICK)
    await withdrawEvent(client, STEP.dedupeKey)
    const withdrawn = await waiting
    id = await sendEvent(client, STEP)
    await ends({ status: 'muted' })
    const muted = await waitForDelivery(client, id, QUICK)

    assert.deepEqual(
      [withdrawn, muted],
      [
        { ...NONE, status: 'withdrawn' },
        { ...NONE, status: 'muted' },
      ],
    )
  })

  test('rejects when its time is up, and can be asked again', async () => {
    await assert.rejects(waitForDelivery(client, id, { ...QUICK, timeoutMs: 100 }), (error) => {
      assert.ok(error instanceof DeliveryTimeout)
      assert.deepEqual([error.eventId, error.status, error.cause], [id, 'pending', undefined])
      return true
    })
    await ends({ status: 'muted' })

    assert.equal((await waitForDelivery(client, id, QUICK)).status, 'muted')
  })

  test('lives through a network that is away for a while', async () => {
    wire.fail('GET', 'dropped', 'bad gateway', 'login page', 'hang')
    const waiting = waitForDelivery(client, id, { ...QUICK, requestMs: 200 })
    await wire.arrived('GET', 5)
    await ends({ status: 'muted' })

    assert.equal((await waiting).status, 'muted')
  })

  test('says what was wrong with the network when its time is up', async () => {
    wire.fail('GET', ...Array(9).fill('hang'))

    await assert.rejects(waitForDelivery(client, id, { ...QUICK, timeoutMs: 50 }), (error) => {
      assert.ok(error instanceof DeliveryTimeout && error.cause instanceof Error)
      assert.equal(error.status, null)
      return true
    })
  })

  test('stops waiting when it is told to', async () => {
    const leaving = new AbortController()
    const waiting = waitForDelivery(client, id, { pollMs: 60_000, signal: leaving.signal })
    await wire.answered('GET')

    leaving.abort(new Error('the page was left'))

    await assert.rejects(waiting, { message: 'the page was left' })
  })

  test('waits for no event that is not the user\u2019s', async () => {
    const { initData } = await newUser()
    const other = createMiniAppClient(wire.url, anonKey, initData)
    const stranger = createMiniAppClient(wire.url, 'no-such-key', '')

    await assert.rejects(waitForDelivery(other, id, QUICK), (error) => {
      assert.ok(error instanceof Refused && !(error instanceof NotAllowed))
      return true
    })
    await assert.rejects(waitForDelivery(stranger, id, QUICK), NotAllowed)
  })

  async function ends(how: object): Promise<void> {
    await service
      .from('tma_events')
      .update({ settled_at: new Date(), ...how })
      .eq('id', id)
      .throwOnError()
  }
})
