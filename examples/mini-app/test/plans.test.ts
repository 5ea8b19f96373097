import assert from 'node:assert/strict'
import diagnostics from 'node:diagnostics_channel'
import { afterEach, before, beforeEach, describe, test } from 'node:test'
import {
  createMiniAppClient,
  isPlanRunning,
  type MiniAppClient,
  NotAllowed,
  type Plan,
  PlanFailed,
  type PlanOptions,
  PlanTimeout,
  Refused,
  requestPlan,
  Unreachable,
} from '../src/index.ts'
import { anonKey, newUser, registerBot, rowsOf, service, url } from './stack.ts'
import { together, Wire } from './wire.ts'
import { Worker } from './worker.ts'

const PLAN: Plan = {
  summary: 'Three calls',
  steps: [{ step_id: '1', description: 'Call', due: '2026-12-24' }],
}
const QUICK: PlanOptions = { pollMs: 10 }

describe('requestPlan', () => {
  const worker = new Worker()
  let wire: Wire
  let user: { id: number; initData: string }
  let client: MiniAppClient
  let lead = 1000

  before(registerBot)
  beforeEach(async () => {
    wire = await new Wire(url).up()
    user = await newUser()
    client = createMiniAppClient(wire.url, anonKey, user.initData)
    lead++
  })
  afterEach(() => wire.down())

  const requests = () => rowsOf('plan_requests', user.id)

  test('resolves with the plan', async () => {
    const planning = requestPlan(client, lead, QUICK)
    await worker.complete(await worker.take(lead), PLAN)

    assert.deepEqual(await planning, PLAN)
  })

  test('tells the planner what it is told', async () => {
    const planning = requestPlan(client, lead, { ...QUICK, payload: { mood: 'good' } })
    const claim = await worker.take(lead)
    await worker.complete(claim, PLAN)
    await planning

    assert.deepEqual(claim.payload, { mood: 'good' })
  })

  test('looks soon the first time, however seldom it is to look', async () => {
    const planning = requestPlan(client, lead, { pollMs: 60_000 })
    await worker.complete(await worker.take(lead), PLAN)

    assert.deepEqual(await planning, PLAN)
  })

  test('rejects with the sentence for the user when there will be no plan', async () => {
    const planning = requestPlan(client, lead, QUICK)
    const claim = await worker.take(lead)
    await worker.fail(claim, 'it took too long')

    await assert.rejects(planning, (error) => {
      assert.ok(error instanceof PlanFailed)
      assert.equal(error.message, 'it took too long')
      assert.equal(error.requestId, claim.id)
      return true
    })
  })

  test('asks anew after a failure, and after a plan', async () => {
    const failing = requestPlan(client, lead, QUICK)
    await worker.fail(await worker.take(lead), 'not today')
    await assert.rejects(failing, PlanFailed)
    const first = requestPlan(client, lead, QUICK)
    await worker.complete(await worker.take(lead), PLAN)
    await first
    const second = requestPlan(client, lead, QUICK)
    await worker.complete(await worker.take(lead), { ...PLAN, summary: 'Another' })

    assert.equal((await second).summary, 'Another')
    assert.equal((await requests()).length, 3)
  })

  test('rejects when its time is up, and leaves the request to be waited for again', async () => {
    const errors = [
      await rejection(requestPlan(client, lead, { ...QUICK, timeoutMs: 100 })),
      await rejection(requestPlan(client, lead, { ...QUICK, timeoutMs: 100 })),
    ]
    const again = requestPlan(client, lead, QUICK)
    const claim = await worker.take(lead)
    await worker.complete(claim, PLAN)

    for (const error of errors) {
      assert.ok(error instanceof PlanTimeout)
      assert.equal(error.requestId, claim.id)
      assert.equal(error.cause, undefined)
    }
    assert.deepEqual(await again, PLAN)
    assert.equal((await requests()).length, 1)
  })

  test('rejects in time, however seldom it looks', async () => {
    const begun = performance.now()

    const error = await rejection(requestPlan(client, lead, { pollMs: 60_000, timeoutMs: 2_000 }))

    assert.ok(error instanceof PlanTimeout)
    assert.ok(performance.now() - begun < 3_700) // its next look would be at 3750
  })

  test('rejects in time when the server hangs', async () => {
    wire.fail('GET', ...Array(9).fill('hang'))
    const begun = performance.now()

    const error = await rejection(requestPlan(client, lead, { ...QUICK, timeoutMs: 50 }))

    assert.ok(error instanceof PlanTimeout)
    assert.ok(error.cause instanceof Error)
    assert.equal(error.requestId, null)
    assert.ok(performance.now() - begun < 5_000)
  })

  test('looks once more when its time went by in a request', async () => {
    wire.fail('GET', 'hang')

    // Long enough for the insert, which is not what hangs.
    const error = await rejection(requestPlan(client, lead, { ...QUICK, timeoutMs: 1_000 }))

    assert.ok(error instanceof PlanTimeout)
    assert.equal(error.requestId, (await requests())[0].id)
  })

  test('takes a plan that was there when its time was up', async () => {
    const timeoutMs = 2_000
    wire.keep('POST', async () => {
      await worker.complete(await worker.take(lead), PLAN)
      await new Promise((resolve) => setTimeout(resolve, timeoutMs)) // nobody waits for the answer
    })

    const plan = await requestPlan(client, lead, { pollMs: 60_000, timeoutMs })

    assert.deepEqual(plan, PLAN)
  })

  test('stops waiting at once when it is told to', async () => {
    const leaving = new AbortController()
    const planning = requestPlan(client, lead, { pollMs: 60_000, signal: leaving.signal })
    await wire.answered('POST')

    leaving.abort()

    const nextLook = new Promise((resolve) => setTimeout(resolve, 150))
    const error = await Promise.race([rejection(planning), nextLook])
    assert.ok(error instanceof DOMException)
    assert.equal(error.name, 'AbortError')
    assert.equal(wire.count, 2)
  })

  test('stops in the middle of a request that hangs', async () => {
    const leaving = new AbortController()
    wire.fail('GET', 'hang')
    const planning = requestPlan(client, lead, { ...QUICK, signal: leaving.signal })
    await wire.arrived('GET')

    leaving.abort(new Error('the page was left'))

    await assert.rejects(planning, { message: 'the page was left' })
  })

  test('does not begin when it has been told to stop', async () => {
    await assert.rejects(requestPlan(client, lead, { signal: AbortSignal.abort() }), {
      name: 'AbortError',
    })

    assert.equal(wire.count, 0)
  })

  test('lives through a network that is away for a while', async () => {
    const planning = requestPlan(client, lead, QUICK)
    const claim = await worker.take(lead)
    const refused = connectionRefused()
    await wire.down()
    await refused
    await worker.complete(claim, PLAN)
    await wire.up()

    assert.deepEqual(await planning, PLAN)
    assert.equal((await requests()).length, 1)
  })

  test('begins when the network comes', async () => {
    await wire.down()
    const refused = connectionRefused()
    const planning = requestPlan(client, lead, QUICK)
    await refused
    await wire.up()
    await worker.complete(await worker.take(lead), PLAN)

    assert.deepEqual(await planning, PLAN)
  })

  test('lives through a server that is not well', async () => {
    wire.fail('GET', 'bad gateway', 'dropped', 'lost', 'login page')
    wire.fail('POST', 'bad gateway', 'dropped', 'hang', 'lost', 'login page')
    const planning = requestPlan(client, lead, { ...QUICK, requestMs: 200 })
    const claim = await worker.take(lead)
    await wire.answered('POST')
    wire.fail('GET', 'hang', 'bad gateway', 'login page')
    await wire.arrived('GET', 10)
    await worker.complete(claim, PLAN)

    assert.deepEqual(await planning, PLAN)
    assert.equal((await requests()).length, 1)
  })

  test('finds its request when the answer was lost and the plan made meanwhile', async () => {
    wire.fail('POST', 'cut')
    const planning = requestPlan(client, lead, QUICK)
    await worker.complete(await worker.take(lead), PLAN)
    await wire.isDown()
    await wire.up()

    assert.deepEqual(await planning, PLAN)
    assert.equal((await requests()).length, 1)
  })

  test('finds the running request again after a page reload', async () => {
    const leaving = new AbortController()
    const before = requestPlan(client, lead, { ...QUICK, signal: leaving.signal })
    const claim = await worker.take(lead)
    leaving.abort()
    await assert.rejects(before)
    const fresh = await new Wire(url).up()
    const after = requestPlan(createMiniAppClient(fresh.url, anonKey, user.initData), lead, QUICK)
    await fresh.answered('GET')
    await worker.complete(claim, PLAN)

    assert.deepEqual(await after, PLAN)
    assert.equal((await requests()).length, 1)
    await fresh.down()
  })

  test('makes one request, however many ask at the same moment', async () => {
    wire.keep('GET', ...together(5)) // all see that there is none before any makes one
    const planning = Array.from({ length: 5 }, () =>
      requestPlan(createMiniAppClient(wire.url, anonKey, user.initData), lead, QUICK),
    )
    await worker.complete(await worker.take(lead), PLAN)

    assert.deepEqual(await Promise.all(planning), Array(5).fill(PLAN))
    assert.equal((await requests()).length, 1)
  })

  test('does not mix up leads, nor users', async () => {
    const somebody = await newUser()
    const theirs = createMiniAppClient(wire.url, anonKey, somebody.initData)
    const planning = requestPlan(client, lead, QUICK)
    const mine = await worker.take(lead)
    const other = requestPlan(client, -lead, QUICK)
    const another = requestPlan(theirs, lead, QUICK)
    await worker.complete(mine, PLAN)
    await worker.complete(await worker.take(-lead), { ...PLAN, summary: 'Other lead' })
    await worker.complete(await worker.take(lead), { ...PLAN, summary: 'Other user' })

    assert.deepEqual(
      (await Promise.all([planning, other, another])).map((plan) => plan.summary),
      ['Three calls', 'Other lead', 'Other user'],
    )
  })

  test('asks anew when its request has been deleted', async () => {
    const planning = requestPlan(client, lead, QUICK)
    const { id } = await worker.take(lead)
    await service.from('plan_requests').delete().eq('id', id).throwOnError()
    await worker.complete(await worker.take(lead), PLAN)

    assert.deepEqual(await planning, PLAN)
  })

  test('waits for what has taken the place of its request', async () => {
    const planning = requestPlan(client, lead, QUICK)
    const { id } = await worker.take(lead)
    const refused = connectionRefused()
    await wire.down()
    await refused
    const place = { telegram_id: user.id, lead_id: lead }
    await service.from('plan_requests').delete().eq('id', id).throwOnError()
    await service.from('plan_requests').insert(place).throwOnError()
    await wire.up()
    await wire.answered('GET', 2)
    await worker.complete(await worker.take(lead), PLAN)

    assert.deepEqual(await planning, PLAN)
    assert.equal((await requests()).length, 1)
  })

  test('is not allowed without the signature', async () => {
    const stranger = createMiniAppClient(wire.url, anonKey, '')

    await assert.rejects(requestPlan(stranger, lead), NotAllowed)
  })

  test('is refused when too many requests of the user wait', async () => {
    const rows = Array.from({ length: 10 }, (_, n) => ({ lead_id: n, telegram_id: user.id }))
    await service.from('plan_requests').insert(rows).throwOnError()

    const error = await rejection(requestPlan(client, lead))

    assert.ok(error instanceof Refused)
    assert.match(error.hint, /answered/)
  })
})

describe('isPlanRunning', () => {
  const worker = new Worker()
  const lead = 2000
  let wire: Wire
  let client: MiniAppClient

  before(registerBot)
  beforeEach(async () => {
    wire = await new Wire(url).up()
    client = createMiniAppClient(wire.url, anonKey, (await newUser()).initData)
  })
  afterEach(() => wire.down())

  test('is true from the request to the plan', async () => {
    const before = await isPlanRunning(client, lead)
    const planning = requestPlan(client, lead, QUICK)
    await wire.answered('POST')
    const pending = await isPlanRunning(client, lead)
    const claim = await worker.take(lead)
    const processing = await isPlanRunning(client, lead)
    await worker.complete(claim, PLAN)
    await planning
    const after = await isPlanRunning(client, lead)

    assert.deepEqual([before, pending, processing, after], [false, true, true, false])
  })

  test('says at once when there is no network', async () => {
    wire.fail('GET', 'dropped')

    await assert.rejects(isPlanRunning(client, lead), Unreachable)

    assert.equal(wire.count, 1)
  })
})

function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => assert.fail('it did not reject'),
    (error) => error,
  )
}

/** Until somebody in this process has been refused a connection. */
function connectionRefused(): Promise<void> {
  return new Promise((resolve) => {
    const heard = () => {
      diagnostics.unsubscribe('undici:client:connectError', heard)
      resolve()
    }
    diagnostics.subscribe('undici:client:connectError', heard)
  })
}
