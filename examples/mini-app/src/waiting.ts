/** A growing, capped series of waits; `random` (0 to 1) takes up to half of each away. */
export interface Waits {
  /** Milliseconds. */
  first: number
  /** Milliseconds. */
  cap: number
  /** How many; without end if left out. */
  count?: number
  random?: () => number
}

/** Milliseconds to wait, each time about twice as long. */
export function* waits({
  first,
  cap,
  count = Infinity,
  random = () => 0,
}: Waits): Generator<number> {
  for (let n = 0; n < count; n++) {
    yield Math.min(first * 2 ** n, cap) * (1 - random() / 2)
  }
}

/** Resolves after so many milliseconds. Rejects with the signal's reason when that aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/**
 * Does `work` with a signal that aborts after so many milliseconds, or with `outer`.
 *
 * AbortSignal.any() would do, but older phones do not have it.
 */
export async function within<T>(
  ms: number,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => PromiseLike<T>,
): Promise<T> {
  outer?.throwIfAborted()
  const inner = new AbortController()
  const stop = () => inner.abort()
  const timer = setTimeout(stop, ms)
  outer?.addEventListener('abort', stop)
  try {
    return await work(inner.signal)
  } finally {
    clearTimeout(timer)
    outer?.removeEventListener('abort', stop)
  }
}
