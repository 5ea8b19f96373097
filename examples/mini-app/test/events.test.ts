import assert from 'node:assert/strict'
import { afterEach, before, beforeEach, describe, test } from 'node:test'
import {
  createMiniAppClient,
  type MiniAppClient,
  NotAllowed,
  Refused,
  rescheduleEvent,
  sendEvent,
  Unreachable,
  withdrawEvent,
} from '../src/index.ts'
import { anonKey, newUser, registerBot, rowsOf, service, sign, url } from './stack.ts'
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
    const first = await sendEvent(client, { ...STEP, dedupeKey: 'step-3' })
    const second = await sendEvent(client, { ...STEP, dedupeKey: 'step-3' })

    const rows = await rowsOf('tma_events', user.id)
    assert.deepEqual([first, second], [rows[0].id, rows[0].id])
    assert.equal(rows.length, 1)
  })

  test('resolves with the id of its row', async () => {
    const id = await sendEvent(client, STEP)

    const [row] = await rowsOf('tma_events', user.id)
    assert.equal(id, row.id)
  })

  test('tries again until the server is well', async () => {
    wire.fail('POST', 'dropped', 'bad gateway', 'too many', 'login page')

    await sendEvent(client, STEP, { retries: AT_ONCE })

    assert.equal(wire.count, 5)
    assert.equal((await rowsOf('tma_events', user.id)).length, 1)
  })

  test('inserts once when an answer is lost', async () => {
    wire.fail('POST', 'lost', 'lost')

    const id = await sendEvent(client, STEP, { retries: AT_ONCE })

    const rows = await rowsOf('tma_events', user.id)
    assert.equal(wire.count, 4) // the last one looks for its id
    assert.deepEqual([rows.length, rows[0].id], [1, id])
  })

  test('finds its id however often that answer is lost', async () => {
    wire.fail('POST', 'lost')
    wire.fail('GET', 'lost', 'login page')

    const id = await sendEvent(client, STEP, { retries: AT_ONCE })

    const rows = await rowsOf('tma_events', user.id)
    assert.deepEqual([rows.length, rows[0].id], [1, id])
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

describe('withdrawEvent and rescheduleEvent', () => {
  const KEY = 'call_due:42'
  const REMINDER = { eventType: 'call_due', dedupeKey: KEY, deliverAfter: tomorrow() }
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

  test('a withdrawn event is not sent, and its key is free', async () => {
    const first = await sendEvent(client, REMINDER)

    const answer = await withdrawEvent(client, KEY)
    const second = await sendEvent(client, REMINDER)

    assert.deepEqual(answer, { id: first, status: 'withdrawn', done: true })
    assert.deepEqual(
      (await rowsOf('tma_events', user.id)).map(({ id, status }) => [id, status]),
      [
        [first, 'withdrawn'],
        [second, 'pending'],
      ],
    )
  })

  test('an event gets another time', async () => {
    const id = await sendEvent(client, REMINDER)
    const at = new Date(Date.now() + 3_600_000)

    const answer = await rescheduleEvent(client, KEY, at)

    const [row] = await rowsOf('tma_events', user.id)
    assert.deepEqual(answer, { id, status: 'pending', done: true })
    assert.equal(Date.parse(row.deliver_after), at.getTime())
  })

  test('both say so when it is too late', async () => {
    const id = await sendEvent(client, REMINDER)
    await ends(id, { status: 'delivered', delivered_at: new Date(), message_id: 5 })

    const late = { id, status: 'delivered', done: false }
    assert.deepEqual(await withdrawEvent(client, KEY), late)
    assert.deepEqual(await rescheduleEvent(client, KEY, tomorrow()), late)
  })

  test('both say so when there is no such event of the user', async () => {
    const somebody = await newUser()
    await sendEvent(createMiniAppClient(url, anonKey, somebody.initData), REMINDER)

    assert.equal(await withdrawEvent(client, KEY), null)
    assert.equal(await rescheduleEvent(client, KEY, tomorrow()), null)
  })

  test('both try again until there is an answer', async () => {
    await sendEvent(client, REMINDER)
    wire.fail('POST', 'dropped', 'lost', 'login page')
    const moved = await rescheduleEvent(client, KEY, tomorrow(), { retries: AT_ONCE })
    wire.fail('POST', 'lost', 'bad gateway')
    const gone = await withdrawEvent(client, KEY, { retries: AT_ONCE })

    assert.deepEqual([moved?.done, gone?.done], [true, true])
  })

  test('both are not allowed without the signature', async () => {
    const stranger = createMiniAppClient(wire.url, anonKey, '')

    await assert.rejects(withdrawEvent(stranger, KEY), NotAllowed)
    await assert.rejects(rescheduleEvent(stranger, KEY, tomorrow()), NotAllowed)
  })

  test('a time too far ahead is refused', async () => {
    await sendEvent(client, REMINDER)

    await assert.rejects(rescheduleEvent(client, KEY, new Date('2100-01-01')), Refused)
  })
})

function tomorrow(): Date {
  return new Date(Date.now() + 24 * 3_600_000)
}

async function ends(id: number, how: object): Promise<void> {
  await service
    .from('tma_events')
    .update({ settled_at: new Date(), ...how })
    .eq('id', id)
    .throwOnError()
}
