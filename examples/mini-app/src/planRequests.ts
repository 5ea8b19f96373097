import { ask, isDuplicate } from './ask.ts'
import type { BridgeClient, MiniAppClient, Sparse } from './client.ts'
import type { Json, Tables, TablesInsert } from './database.types.ts'

const TABLE = 'plan_requests'
const COLUMNS = 'id, status, result, error'

/** What a planner makes. If yours adds fields, add them here. */
export interface Plan {
  summary: string | null
  steps: PlanStep[]
}

export interface PlanStep {
  step_id: number | string
  description: string
  /** ISO date, or date and time; null if it may be done at any time. */
  due: string | null
}

/** A row of plan_requests. */
export interface PlanRequest extends Pick<Tables<'plan_requests'>, 'id' | 'error'> {
  status: 'pending' | 'processing' | 'completed' | 'failed'
  /** Of a completed one. */
  result: Plan | null
  /** Of a failed one: a sentence for the user. */
  error: string | null
}

export function isOpen(request: PlanRequest): boolean {
  return request.status === 'pending' || request.status === 'processing'
}

/** Requests for one lead: the user's, because policies of the database show no others. */
export class PlanRequests {
  readonly #client: BridgeClient
  readonly #leadId: number
  readonly #limitMs: () => number
  readonly #signal: AbortSignal | undefined

  /** `limitMs` says how long the next HTTP request may take. */
  constructor(client: MiniAppClient, leadId: number, limitMs: () => number, signal?: AbortSignal) {
    this.#client = client
    this.#leadId = leadId
    this.#limitMs = limitMs
    this.#signal = signal
  }

  newest(): Promise<PlanRequest | null> {
    return this.#newest({})
  }

  byId(id: number): Promise<PlanRequest | null> {
    return this.#newest({ id })
  }

  /** The request of this key, made if it is not there. Null if it has gone in between. */
  async ensure(dedupeKey: string, payload?: object): Promise<PlanRequest | null> {
    const row: Sparse<TablesInsert<'plan_requests'>> = {
      lead_id: this.#leadId,
      dedupe_key: dedupeKey,
      payload: payload as Json | undefined,
    }
    try {
      return await ask(this.#limitMs(), this.#signal, (limit) =>
        this.#client
          .from(TABLE)
          .insert(row as TablesInsert<'plan_requests'>)
          .select<typeof COLUMNS, PlanRequest>(COLUMNS)
          .abortSignal(limit)
          .single(),
      )
    } catch (error) {
      if (!isDuplicate(error)) throw error
      return this.#newest({ dedupe_key: dedupeKey })
    }
  }

  #newest(match: Partial<Tables<'plan_requests'>>): Promise<PlanRequest | null> {
    return ask(this.#limitMs(), this.#signal, (limit) =>
      this.#client
        .from(TABLE)
        .select<typeof COLUMNS, PlanRequest>(COLUMNS)
        .match({ lead_id: this.#leadId, ...match } satisfies Partial<Tables<'plan_requests'>>)
        .order('id', { ascending: false })
        .limit(1)
        .abortSignal(limit)
        .retry(false) // supabase-js would try again for 7 s, without looking at the time
        .maybeSingle(),
    )
  }
}
