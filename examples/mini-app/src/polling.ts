import { Unreachable } from './errors.ts'
import { pause, waits } from './waiting.ts'

const FIRST_POLL_MS = 250
// When time is up there is one more look, within this: a phone that slept through its minute wakes
// to a result that is there.
const LAST_LOOK_MS = 1_000

/** How long to look for something, and how often. */
export interface PollOptions {
  /** Milliseconds in all. */
  timeoutMs?: number
  /** Milliseconds between looks; the first few come sooner. */
  pollMs?: number
  signal?: AbortSignal
  /** Milliseconds that one HTTP request may take. */
  requestMs?: number
}

/** Time was up. `cause` is what went wrong last, if the network did. */
export class TimeUp extends Error {
  override readonly cause: Unreachable | undefined

  constructor(cause: Unreachable | undefined) {
    super('time is up')
    this.cause = cause
  }
}

/** Looks again and again until its time is up. The time runs from its making. */
export class Poll {
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  readonly #end: number
  readonly #pollMs: number
  readonly #requestMs: number

  constructor({ timeoutMs = 60_000, pollMs = 3_000, signal, requestMs = 10_000 }: PollOptions) {
    this.timeoutMs = timeoutMs
    this.signal = signal
    this.#end = performance.now() + timeoutMs
    this.#pollMs = pollMs
    this.#requestMs = requestMs
  }

  /** Milliseconds that the next HTTP request may take. */
  readonly limitMs = (): number => {
    const left = this.#left()
    return Math.min(left > 0 ? left : LAST_LOOK_MS, this.#requestMs)
  }

  /**
   * What `look` finds that is not null. A lost network only costs time.
   *
   * Throws TimeUp, whatever else `look` throws, and the signal's reason when that aborts.
   */
  async until<T>(look: () => Promise<T | null>): Promise<T> {
    let trouble: Unreachable | undefined
    const first = Math.min(FIRST_POLL_MS, this.#pollMs)
    for (const wait of waits({ first, cap: this.#pollMs })) {
      const last = this.#left() <= 0
      try {
        const found = await look()
        if (found !== null) return found
        trouble = undefined
      } catch (error) {
        if (!(error instanceof Unreachable)) throw error
        trouble = error
      }
      if (last) break
      await pause(Math.min(wait, Math.max(this.#left(), 0)), this.signal)
    }
    throw new TimeUp(trouble)
  }

  #left(): number {
    return this.#end - performance.now()
  }
}
