import assert from 'node:assert/strict'
import { afterEach, before, beforeEach, describe, test } from 'node:test'
import {
  createMiniAppClient,
  type MiniAppClient,
  NotAllowed,
  Refused,
  sendEvent,
  Unreachable,
} from '../src/index.ts'
import { anonKey, newUser, registerBot, rowsOf, sign, url } from './stack.ts'
import { Wire } from './wire.ts'

const STEP = { eventType: 'step_completed', leadId: 42, payload: { step_id: '3' } }
const AT_ONCE = [0, 0, 0, 0]

describe('sendEvent', () => {
  let wire: Wire
  let user: { id: number; initData: string }
  let client: MiniAppClient

  before(registerBot)
  beforeEach(async () => {
    wire = await new Wire(url).up()
    user = await newUser()
    client = createMiniAppClient(wire.url, anonKey, user.initData)
  })
  afterEach(() => wire.down())

  test('inserts a row for the user whom Telegram signed', async () => {
    const deliverAfter = new Date(Date.now() + 3_600_000)

    await sendEvent(client, { ...STEP, deliverAfter, dedupeKey: 'mine' })

    const [row, ...others] = await rowsOf('tma_events', user.id)
    assert.deepEqual(others, [])
    assert.equal(row.status, 'pending')
    assert.equal(row.event_type, 'step_completed')
    assert.equal(row.lead_id, 42)
    assert.deepEqual(row.payload, { step_id: '3' })
    assert.equal(row.dedupe_key, 'mine')
    assert.equal(Date.parse(row.deliver_after), deliverAfter.getTime())
  })

  test('needs no more than a type', async () => {
    await sendEvent(client, { eventType: 'ping' })

    const [row] = await rowsOf('tma_events', user.id)
    assert.deepEqual([row.event_type, row.lead_id, row.payload], ['ping', null, {}])
  })

  test('sends two equal events as two', async () => {
    await sendEvent(client, STEP)
    await sendEvent(client, STEP)

    assert.equal((await rowsOf('tma_events', user.id)).length, 2)
  })

  test('takes two of one dedupe key for one', async () => {
    await sendEvent(client, { ...STEP, dedupeKey: 'step-3' })
    await sendEvent(client, { ...STEP, dedupeKey: 'step-3' })

    assert.equal((await rowsOf('tma_events', user.id)).length, 1)
  })

  test('tries again until the server is well', async () => {
    wire.fail('POST', 'dropped', 'bad gateway', 'too many', 'login page')

    await sendEvent(client, STEP, { retries: AT_ONCE })

    assert.equal(wire.count, 5)
    assert.equal((await rowsOf('tma_events', user.id)).length, 1)
  })

  test('inserts once when an answer is lost', async () => {
    wire.fail('POST', 'lost', 'lost')

    await sendEvent(client, STEP, { retries: AT_ONCE })

    assert.equal(wire.count, 3)
    assert.equal((await rowsOf('tma_events', user.id)).length, 1)
  })

  test('does not wait for ever for an answer', async () => {
    wire.fail('POST', 'hang')

    await sendEvent(client, STEP, { retries: AT_ONCE, requestMs: 200 })

    assert.equal((await rowsOf('tma_events', user.id)).length, 1)
  })

  test('says so when no try arrives', async () => {
    await wire.down()

    await assert.rejects(sendEvent(client, STEP, { retries: AT_ONCE }), Unreachable)

    assert.deepEqual(await rowsOf('tma_events', user.id), [])
  })

  test('stops trying when it is told to', async () => {
    const leaving = new AbortController()
    wire.fail('POST', 'bad gateway')
    const sending = sendEvent(client, STEP, { retries: [60_000], signal: leaving.signal })
    await wire.arrived('POST')

    leaving.abort()

    await assert.rejects(sending, { name: 'AbortError' })
    assert.deepEqual(await rowsOf('tma_events', user.id), [])
  })

  test('stops in the middle of its last try', async () => {
    const leaving = new AbortController()
    wire.fail('POST', 'hang')
    const sending = sendEvent(client, STEP, { retries: [], signal: leaving.signal })
    await wire.arrived('POST')

    leaving.abort(new Error('the page was left'))

    await assert.rejects(sending, { message: 'the page was left' })
  })

  test('does not begin when it has been told to stop', async () => {
    await assert.rejects(sendEvent(client, STEP, { signal: AbortSignal.abort() }), {
      name: 'AbortError',
    })

    assert.equal(wire.count, 0)
  })

  test('is not allowed without the signature, and does not try again', async () => {
    const stranger = createMiniAppClient(wire.url, anonKey, '')

    await assert.rejects(sendEvent(stranger, STEP), (error) => {
      assert.ok(error instanceof NotAllowed)
      assert.match(error.hint, /x-telegram-init-data/)
      return true
    })

    assert.equal(wire.count, 1)
  })

  test('is not allowed with a signature of last week', async () => {
    const lastWeek = Math.floor(Date.now() / 1000) - 7 * 24 * 3600
    const late = createMiniAppClient(wire.url, anonKey, await sign(user.id, lastWeek))

    await assert.rejects(sendEvent(late, STEP), NotAllowed)
  })

  test('is not allowed with a wrong key', async () => {
    const keyless = createMiniAppClient(wire.url, 'no-such-key', user.initData)

    await assert.rejects(sendEvent(keyless, STEP), NotAllowed)
  })

  test('is refused with a reason when the event is none, and does not try again', async () => {
    await assert.rejects(sendEvent(client, { eventType: 'no such form!' }), (error) => {
      assert.ok(error instanceof Refused && !(error instanceof NotAllowed))
      assert.equal(error.code, '23514')
      assert.match(error.hint, /letters/)
      return true
    })

    assert.equal(wire.count, 1)
  })
})
