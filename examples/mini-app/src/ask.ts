import { NotAllowed, Refused, Unreachable } from './errors.ts'
import { within } from './waiting.ts'

const UNIQUE_VIOLATION = '23505'

/** What supabase-js resolves with, as far as it matters here. */
interface Answer<T> {
  data: T
  error: { message: string; code?: string; hint?: string | null } | null
  status: number
}

/**
 * Makes one request and returns its data.
 *
 * Throws Unreachable when no answer comes within `limitMs`, Refused or NotAllowed when the answer
 * is no, and the reason of `signal` when that aborts.
 */
export async function ask<T>(
  limitMs: number,
  signal: AbortSignal | undefined,
  request: (signal: AbortSignal) => PromiseLike<Answer<T>>,
): Promise<T> {
  const { data, error, status } = await within(limitMs, signal, request)
  signal?.throwIfAborted()
  if (error) throw failure(status, error)
  return data
}

/** Whether the row that was to be inserted is there already. */
export function isDuplicate(error: unknown): boolean {
  return error instanceof Refused && error.code === UNIQUE_VIOLATION
}

function failure(status: number, error: NonNullable<Answer<unknown>['error']>): Error {
  // Good news that cannot be read is somebody else's: a hotel's login page, for example.
  if (status < 400 || status === 408 || status === 429 || status >= 500) {
    return new Unreachable(error.message || `the server answered ${status}`)
  }
  const Kind = status === 401 || status === 403 ? NotAllowed : Refused
  return new Kind(error.message, error.code ?? '', error.hint ?? '')
}
