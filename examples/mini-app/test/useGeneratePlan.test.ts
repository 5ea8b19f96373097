import assert from 'node:assert/strict'
import { afterEach, before, beforeEach, describe, test } from 'node:test'
import { onlineManager, QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { Window as Browser } from 'happy-dom'
import { createElement, type ReactElement } from 'react'
import { createRoot, type Root } from 'react-dom/client'
import { createMiniAppClient, type MiniAppClient, type Plan, PlanFailed } from '../src/index.ts'
import { type LeadKeys, leadKeys, MiniAppContext, useGeneratePlan } from '../src/useGeneratePlan.ts'
import { anonKey, eventually, newUser, registerBot, url } from './stack.ts'
import { Worker } from './worker.ts'

const PLAN: Plan = { summary: null, steps: [{ step_id: 1, description: 'Call', due: null }] }
const QUICK = { pollMs: 10 }

// As much of a browser as React needs, and not so much that supabase-js takes this for one.
globalThis.window = new Browser() as unknown as typeof window

describe('useGeneratePlan', () => {
  const worker = new Worker()
  let client: MiniAppClient
  let lead = 3000
  let queries: QueryClient
  /** What the page has got at its last rendering, or what was thrown. */
  let hook: ReturnType<typeof useGeneratePlan> | undefined
  let thrown: unknown
  let root: Root

  before(registerBot)
  beforeEach(async () => {
    client = createMiniAppClient(url, anonKey, (await newUser()).initData)
    lead++
    queries = new QueryClient()
    hook = thrown = undefined
    root = createRoot(window.document.createElement('main'))
  })
  afterEach(() => {
    root.unmount()
    queries.clear()
    onlineManager.setOnline(true)
  })

  function LeadPage({ leadId, keys }: { leadId: number; keys?: LeadKeys }): null {
    try {
      hook = useGeneratePlan(leadId, keys)
    } catch (error) {
      thrown = error
    }
    return null
  }

  /** The lead's page within what it needs. */
  const page = (leadId: number, keys?: LeadKeys): ReactElement =>
    createElement(
      QueryClientProvider,
      { client: queries },
      createElement(
        MiniAppContext.Provider,
        { value: client },
        createElement(LeadPage, { leadId, ...(keys && { keys }) }),
      ),
    )

  async function render(element: ReactElement): Promise<void> {
    root.render(element)
    await status('idle')
  }

  const status = (wanted: string) =>
    eventually(async () => hook?.status === wanted || undefined)

  /** Whether the query of this key is to be loaded again. */
  const isStale = (key: readonly unknown[]) => queries.getQueryState(key)?.isInvalidated

  test('makes a plan, then has the lead and its reminders loaded again', async () => {
    const others = [leadKeys.detail(lead + 1), ['leads', 'list']]
    const own = [leadKeys.detail(lead), leadKeys.reminders(lead)]
    for (const key of [...own, ...others]) queries.setQueryData(key, {})
    await render(page(lead))

    hook?.mutate(QUICK)
    await status('pending')
    const claim = await worker.take(lead)
    assert.deepEqual(own.map(isStale), [false, false])
    await worker.complete(claim, PLAN)
    await status('success')

    assert.deepEqual(hook?.data, PLAN)
    assert.deepEqual(own.map(isStale), [true, true])
    assert.deepEqual(others.map(isStale), [false, false])
  })

  test('has nothing loaded again when there will be no plan', async () => {
    queries.setQueryData(leadKeys.detail(lead), {})
    await render(page(lead))

    hook?.mutate(QUICK)
    await worker.fail(await worker.take(lead), 'it took too long')
    await status('error')

    assert.ok(hook?.error instanceof PlanFailed)
    assert.equal(hook.error.message, 'it took too long')
    assert.equal(isStale(leadKeys.detail(lead)), false)
  })

  test('uses query keys of your own', async () => {
    const keys: LeadKeys = {
      detail: (leadId) => ['crm', leadId],
      reminders: (leadId) => ['crm', leadId, 'todo'],
    }
    queries.setQueryData(['crm', lead], {})
    await render(page(lead, keys))

    hook?.mutate(QUICK)
    await worker.complete(await worker.take(lead), PLAN)
    await status('success')

    assert.equal(isStale(['crm', lead]), true)
  })

  test('goes to another lead without taking the plan along', async () => {
    queries.setQueryData(leadKeys.detail(lead), {})
    queries.setQueryData(leadKeys.detail(-lead), {})
    await render(page(lead))
    hook?.mutate(QUICK)
    const claim = await worker.take(lead)

    root.render(page(-lead))
    await status('idle')
    await worker.complete(claim, PLAN)
    await eventually(async () => isStale(leadKeys.detail(lead)) || undefined)

    assert.equal(hook?.status, 'idle')
    assert.equal(isStale(leadKeys.detail(-lead)), false)
  })

  test('can be stopped', async () => {
    const leaving = new AbortController()
    await render(page(lead))
    hook?.mutate({ ...QUICK, signal: leaving.signal })
    await worker.take(lead)

    leaving.abort()
    await status('error')

    assert.equal(hook?.error?.name, 'AbortError')
  })

  test('does not wait for a browser that believes to be offline', async () => {
    onlineManager.setOnline(false)
    await render(page(lead))

    hook?.mutate()
    await worker.complete(await worker.take(lead), PLAN)
    await status('success')

    assert.deepEqual(hook?.data, PLAN)
  })

  test('says what it needs around it', async () => {
    root.render(createElement(LeadPage, { leadId: lead }))
    await eventually(async () => thrown)

    assert.match(String(thrown), /MiniAppContext\.Provider/)
  })
})
