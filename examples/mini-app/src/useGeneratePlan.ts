import {
  type QueryKey,
  useMutation,
  type UseMutationResult,
  useQueryClient,
} from '@tanstack/react-query'
import { createContext, useContext } from 'react'
import type { MiniAppClient } from './client.ts'
import type { Plan } from './planRequests.ts'
import { type PlanOptions, requestPlan } from './plans.ts'

/** Query keys of what a plan changes. */
export interface LeadKeys {
  detail: (leadId: number) => QueryKey
  reminders: (leadId: number) => QueryKey
}

export const leadKeys = {
  detail: (leadId: number) => ['leads', 'detail', leadId] as const,
  reminders: (leadId: number) => ['leads', 'reminders', leadId] as const,
} satisfies LeadKeys

/** The client that the hooks use: `<MiniAppContext.Provider value={client}>`. */
export const MiniAppContext = createContext<MiniAppClient | null>(null)

/**
 * A mutation that makes a plan of the lead and then reloads the lead and its reminders.
 *
 * `mutate()` or `mutate({ signal, ... })` with the options of requestPlan. Called while a plan is
 * being made, also before a page reload, it waits for that one.
 */
export function useGeneratePlan(
  leadId: number,
  keys: LeadKeys = leadKeys,
): UseMutationResult<Plan, Error, PlanOptions | void> {
  const client = useContext(MiniAppContext)
  if (!client) throw new Error('useGeneratePlan needs a <MiniAppContext.Provider value={client}>')
  const queries = useQueryClient()
  return useMutation({
    // Of another lead the hook knows nothing, also while this one's plan is being made.
    mutationKey: ['leads', 'plan', leadId],
    mutationFn: (options: PlanOptions | void) => requestPlan(client, leadId, options ?? {}),
    // The request may be made already: requestPlan knows best how to go on without a network.
    networkMode: 'always',
    onSuccess: () => {
      for (const key of [keys.detail, keys.reminders]) {
        void queries.invalidateQueries({ queryKey: key(leadId) })
      }
    },
  })
}
