import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pause, waits, within } from '../../src/waiting.ts'

test('waits grow to their cap and end', () => {
  assert.deepEqual([...waits({ first: 1, cap: 5, count: 5 })], [1, 2, 4, 5, 5])
})

test('chance takes up to half of a wait away', () => {
  const luckiest = waits({ first: 4, cap: 8, count: 2, random: () => 1 })

  assert.deepEqual([...luckiest], [2, 4])
})

test('a pause ends with the reason of its signal', async () => {
  const leaving = new AbortController()
  const timers = countTimers()
  const pausing = pause(60_000, leaving.signal)

  leaving.abort(new Error('gone'))

  await assert.rejects(pausing, { message: 'gone' })
  assert.equal(countTimers(), timers)
})

test('a pause does not begin when its signal has aborted', async () => {
  await assert.rejects(pause(60_000, AbortSignal.abort()), { name: 'AbortError' })
})

test('work is told when its time is up', async () => {
  const told = await within(1, undefined, (signal) => aborted(signal))

  assert.equal(told, true)
})

test('work is told when the signal around it aborts', async () => {
  const leaving = new AbortController()
  const working = within(60_000, leaving.signal, (signal) => aborted(signal))

  leaving.abort()

  assert.equal(await working, true)
})

function aborted(signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(true)))
}

function countTimers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
}
