export { type ChatSettings, getChatSettings, setChatSettings } from './chatSettings.ts'
export { createMiniAppClient, type MiniAppClient } from './client.ts'
export type { Database } from './database.types.ts'
export { type Delivery, waitForDelivery } from './delivery.ts'
export {
  DeliveryTimeout,
  NotAllowed,
  PlanFailed,
  PlanTimeout,
  Refused,
  Unreachable,
} from './errors.ts'
export {
  type EventChange,
  type EventStatus,
  type MiniAppEvent,
  rescheduleEvent,
  sendEvent,
  withdrawEvent,
} from './events.ts'
export type { Plan, PlanStep } from './planRequests.ts'
export { isPlanRunning, type PlanOptions, requestPlan } from './plans.ts'
export type { PollOptions } from './polling.ts'
export type { SendOptions } from './retrying.ts'
