// Answers plan requests as the test tells it, through the functions that the bridge calls.
import assert from 'node:assert/strict'
import type { Plan } from '../src/index.ts'
import { eventually, service } from './stack.ts'

interface Claim {
  id: number
  attempt: number
  lead_id: number
  payload: object
}

export class Worker {
  readonly #claimed = new Map<number, Claim>()

  /** Takes the request of this lead into work, as soon as there is one. */
  async take(leadId: number): Promise<Claim> {
    const claim = await eventually(async () => {
      const { data } = await service
        .rpc('claim_tma_requests', { p_table: 'plan_requests', p_limit: 100 })
        .throwOnError()
      for (const { request } of data as { request: string }[]) {
        const claim = JSON.parse(request) as Claim
        this.#claimed.set(claim.lead_id, claim)
      }
      return this.#claimed.get(leadId)
    })
    this.#claimed.delete(leadId)
    return claim
  }

  complete(claim: Claim, result: Plan): Promise<void> {
    return this.#settle(claim, { status: 'completed', result })
  }

  fail(claim: Claim, error: string): Promise<void> {
    return this.#settle(claim, { status: 'failed', error })
  }

  async #settle({ id, attempt }: Claim, outcome: object): Promise<void> {
    const { data } = await service
      .rpc('settle_tma_requests', {
        p_table: 'plan_requests',
        p_outcomes: [{ id, attempt, ...outcome }],
      })
      .throwOnError()
    assert.deepEqual(data, [id])
  }
}
