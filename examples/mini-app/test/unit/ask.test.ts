import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, isDuplicate } from '../../src/ask.ts'
import { NotAllowed, Refused, Unreachable } from '../../src/errors.ts'

type Answer = Parameters<typeof ask<string>>[2]

const ok: Answer = async () => ({ data: 'row', error: null, status: 200 })

function says(status: number, error: { message: string; code?: string; hint?: string }): Answer {
  return async () => ({ data: '', error, status })
}

test('an answer is its data', async () => {
  assert.equal(await ask(1_000, undefined, ok), 'row')
})

for (const status of [0, 200, 408, 429, 500, 502, 503]) {
  test(`an error with status ${status} may be gone the next time`, async () => {
    const asking = ask(1_000, undefined, says(status, { message: '' }))

    await assert.rejects(asking, (error) => {
      assert.ok(error instanceof Unreachable)
      assert.equal(error.message, `the server answered ${status}`)
      return true
    })
  })
}

for (const status of [401, 403]) {
  test(`${status} proves no user`, async () => {
    const asking = ask(1_000, undefined, says(status, { message: 'no', code: '42501' }))

    await assert.rejects(asking, NotAllowed)
  })
}

test('a refusal says why, and what helps', async () => {
  const error = { message: 'too many', code: '23514', hint: 'wait for the open ones' }
  const asking = ask(1_000, undefined, says(400, error))

  await assert.rejects(asking, (thrown) => {
    assert.ok(thrown instanceof Refused && !(thrown instanceof NotAllowed))
    assert.deepEqual([thrown.message, thrown.code, thrown.hint], Object.values(error))
    return true
  })
})

test('a row that is there already is told from other refusals', async () => {
  const codes = ['23505', '23514']
  const refused = codes.map((code) => new Refused('no', code, ''))

  assert.deepEqual(refused.map(isDuplicate), [true, false])
  assert.equal(isDuplicate(new Error('23505')), false)
})

test('whoever has left is told so, whatever the answer says', async () => {
  const leaving = new AbortController()
  const asking = ask(1_000, leaving.signal, async () => {
    leaving.abort(new Error('the page was left'))
    return { data: '', error: { message: 'aborted' }, status: 0 }
  })

  await assert.rejects(asking, { message: 'the page was left' })
})
