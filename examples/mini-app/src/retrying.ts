import { Unreachable } from './errors.ts'
import { pause, waits } from './waiting.ts'

const PATIENCE = { first: 500, cap: 8_000, count: 5, random: Math.random }

/** How hard a write tries. */
export interface SendOptions {
  signal?: AbortSignal
  /** Milliseconds to wait before each further try; about 10 s in all if left out. */
  retries?: Iterable<number>
  /** Milliseconds that one try may take. */
  requestMs?: number
}

/** Does what may be done twice until there is an answer; throws Unreachable after the last try. */
export async function persistently<T>(
  work: () => Promise<T>,
  { signal, retries = waits(PATIENCE) }: SendOptions,
): Promise<T> {
  for (const wait of retries) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error
    }
    await pause(wait, signal)
  }
  return work()
}
