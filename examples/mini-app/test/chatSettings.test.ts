import assert from 'node:assert/strict'
import { afterEach, before, beforeEach, describe, test } from 'node:test'
import {
  type ChatSettings,
  createMiniAppClient,
  getChatSettings,
  type MiniAppClient,
  NotAllowed,
  Refused,
  setChatSettings,
} from '../src/index.ts'
import { anonKey, newUser, registerBot, url } from './stack.ts'
import { Wire } from './wire.ts'

const NIGHT: ChatSettings = {
  timezone: 'Europe/Kyiv',
  quietFrom: '22:00:00',
  quietTo: '07:00:00',
  muted: ['step_due'],
}

describe('chat settings', () => {
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

  test('of somebody who has set none are empty', async () => {
    assert.deepEqual(await getChatSettings(client), {
      timezone: null,
      quietFrom: null,
      quietTo: null,
      muted: [],
    })
  })

  test('are what was set', async () => {
    const set = await setChatSettings(client, NIGHT)

    assert.deepEqual(set, NIGHT)
    assert.deepEqual(await getChatSettings(client), NIGHT)
  })

  test('keep what is left out', async () => {
    await setChatSettings(client, NIGHT)

    assert.deepEqual(await setChatSettings(client, { muted: [] }), { ...NIGHT, muted: [] })
    assert.deepEqual(await setChatSettings(client, { quietFrom: null, quietTo: null }), {
      ...NIGHT,
      muted: [],
      quietFrom: null,
      quietTo: null,
    })
  })

  test('are set once when an answer is lost', async () => {
    wire.fail('POST', 'dropped', 'lost')

    assert.deepEqual(await setChatSettings(client, NIGHT, { retries: [0, 0] }), NIGHT)
  })

  test('are the user\u2019s alone', async () => {
    await setChatSettings(client, NIGHT)
    const { initData } = await newUser()
    const other = createMiniAppClient(url, anonKey, initData)

    await setChatSettings(other, { muted: ['theirs'] })

    assert.deepEqual(await getChatSettings(client), NIGHT)
    assert.deepEqual((await getChatSettings(other)).muted, ['theirs'])
  })

  test('by plain supabase-js, with the user named, are the same', async () => {
    const row = { telegram_id: user.id, muted: ['a'] }
    await client.from('tma_chat_settings').upsert(row).throwOnError()
    await client
      .from('tma_chat_settings')
      .upsert({ ...row, muted: ['b'] })
      .throwOnError()

    assert.deepEqual((await getChatSettings(client)).muted, ['b'])
    await assert.rejects(async () => {
      await client
        .from('tma_chat_settings')
        .upsert({ ...row, telegram_id: user.id + 1 })
        .throwOnError()
    }, /is not the user/)
  })

  test('that mean nothing are refused with a reason', async () => {
    for (const changes of [
      { timezone: 'Mars/Olympus' },
      { quietFrom: '22:00' },
      { muted: Array(51).fill('a') },
    ]) {
      await assert.rejects(setChatSettings(client, changes), (error) => {
        assert.ok(error instanceof Refused && error.code === '23514')
        assert.ok(error.hint)
        return true
      })
    }
  })

  test('are not set without the signature', async () => {
    const stranger = createMiniAppClient(wire.url, anonKey, '')

    await assert.rejects(setChatSettings(stranger, NIGHT), NotAllowed)
  })
})
