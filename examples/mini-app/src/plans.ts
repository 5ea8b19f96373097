import type { MiniAppClient } from './client.ts'
import { PlanFailed, PlanTimeout } from './errors.ts'
import { isOpen, type Plan, type PlanRequest, PlanRequests } from './planRequests.ts'
import { Poll, type PollOptions, TimeUp } from './polling.ts'

/** How long requestPlan waits, and what the planner is told. */
export interface PlanOptions extends PollOptions {
  /** What the planner should know, if this call is the one that makes the request. */
  payload?: object
}

/**
 * Asks for a plan of the lead and waits for it; if one is being made, waits for that.
 *
 * Lives through a lost network and through any number of calls at once or one after another (a
 * second tab, a page reload): while a request of this user and lead is open, no other is made.
 *
 * Throws PlanFailed (its message is for the user), PlanTimeout, NotAllowed, Refused (for example
 * when too many requests wait), and the signal's reason when that aborts: by default a
 * DOMException named AbortError. An abort ends the waiting, not the request.
 */
export async function requestPlan(
  client: MiniAppClient,
  leadId: number,
  options: PlanOptions = {},
): Promise<Plan> {
  const poll = new Poll(options)
  const requests = new PlanRequests(client, leadId, poll.limitMs, poll.signal)
  const search = new Search(requests, leadId, options.payload)
  try {
    return await poll.until(async () => answer(await search.look()))
  } catch (error) {
    if (!(error instanceof TimeUp)) throw error
    throw new PlanTimeout(poll.timeoutMs, search.requestId, error.cause)
  }
}

/** Whether a plan of this lead is being made for the user: if so, requestPlan waits for it. */
export async function isPlanRunning(
  client: MiniAppClient,
  leadId: number,
  { signal, requestMs = 10_000 }: Pick<PlanOptions, 'signal' | 'requestMs'> = {},
): Promise<boolean> {
  const newest = await new PlanRequests(client, leadId, () => requestMs, signal).newest()
  return newest !== null && isOpen(newest)
}

/** The plan, null while there is none. Throws PlanFailed if there will be none. */
function answer(request: PlanRequest | null): Plan | null {
  if (request?.status === 'failed') throw new PlanFailed(request.error ?? '', request.id)
  return request?.status === 'completed' ? request.result : null
}

/** Finds the request to wait for, and keeps to it. */
class Search {
  requestId: number | null = null
  #dedupeKey: string | null = null
  readonly #requests: PlanRequests
  readonly #leadId: number
  readonly #payload: object | undefined

  constructor(requests: PlanRequests, leadId: number, payload: object | undefined) {
    this.#requests = requests
    this.#leadId = leadId
    this.#payload = payload
  }

  /** The request as it is now. Null if it has gone: the next look begins anew. */
  async look(): Promise<PlanRequest | null> {
    const request =
      this.requestId === null ? await this.#find() : await this.#requests.byId(this.requestId)
    this.requestId = request?.id ?? null
    if (request === null) this.#dedupeKey = null
    return request
  }

  async #find(): Promise<PlanRequest | null> {
    if (this.#dedupeKey === null) {
      const newest = await this.#requests.newest()
      if (newest && isOpen(newest)) return newest
      // Whoever makes the next request after this one makes the same: the table takes it once. And
      // a request whose answer was lost is found by it, even if it has been completed since.
      this.#dedupeKey = `plan:${this.#leadId}:${newest?.id ?? 0}`
    }
    return this.#requests.ensure(this.#dedupeKey, this.#payload)
  }
}
