/** No answer came: no network, or a server that is not well. Trying again may help. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable'
}

/** The database said no; trying again does not help. `hint` says what does. */
export class Refused extends Error {
  override readonly name: string = 'Refused'
  /** SQLSTATE, or PostgREST's own code. */
  readonly code: string
  /** For developers; may be empty. */
  readonly hint: string

  constructor(message: string, code: string, hint: string) {
    super(message)
    this.code = code
    this.hint = hint
  }
}

/** The request proves no user: initData is missing, forged, too old, or of an unknown bot. */
export class NotAllowed extends Refused {
  override readonly name = 'NotAllowed'
}

/** There will be no plan. The message is a sentence for the user. */
export class PlanFailed extends Error {
  override readonly name = 'PlanFailed'
  readonly requestId: number

  constructor(message: string, requestId: number) {
    super(message)
    this.requestId = requestId
  }
}

/**
 * No plan yet. The request goes on: ask again to wait for the same one.
 *
 * `cause` is what went wrong last, if the network did.
 */
export class PlanTimeout extends Error {
  override readonly name = 'PlanTimeout'
  /** Null if no request could be made. */
  readonly requestId: number | null

  constructor(timeoutMs: number, requestId: number | null, cause?: Error) {
    super(`no plan within ${timeoutMs / 1000} s`, { cause })
    this.requestId = requestId
  }
}

/**
 * The event has not ended yet. It goes on: wait again.
 *
 * `cause` is what went wrong last, if the network did.
 */
export class DeliveryTimeout extends Error {
  override readonly name = 'DeliveryTimeout'
  readonly eventId: number
  /** As it was last seen: pending or processing; null if it was not seen. */
  readonly status: string | null

  constructor(timeoutMs: number, eventId: number, status: string | null, cause?: Error) {
    super(`event ${eventId} has not ended within ${timeoutMs / 1000} s`, { cause })
    this.eventId = eventId
    this.status = status
  }
}
