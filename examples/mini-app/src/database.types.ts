export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

export type Database = {
  public: {
    Tables: {
      plan_requests: {
        Row: {
          attempt: number
          claimed_at: string | null
          completed_at: string | null
          created_at: string
          dedupe_key: string | null
          error: string | null
          id: number
          lead_id: number | null
          lead_visible: boolean | null
          locale: string | null
          payload: Json | null
          result: Json | null
          retries: number
          retry_at: string | null
          settled_at: string | null
          status: string
          telegram_id: number
        }
        ComputedFields: never
        Insert: {
          attempt?: number
          claimed_at?: string | null
          completed_at?: string | null
          created_at?: string
          dedupe_key?: string | null
          error?: string | null
          id?: number
          lead_id?: number | null
          lead_visible?: boolean | null
          locale?: string | null
          payload?: Json | null
          result?: Json | null
          retries?: number
          retry_at?: string | null
          settled_at?: string | null
          status?: string
          telegram_id?: number
        }
        Update: {
          attempt?: number
          claimed_at?: string | null
          completed_at?: string | null
          created_at?: string
          dedupe_key?: string | null
          error?: string | null
          id?: number
          lead_id?: number | null
          lead_visible?: boolean | null
          locale?: string | null
          payload?: Json | null
          result?: Json | null
          retries?: number
          retry_at?: string | null
          settled_at?: string | null
          status?: string
          telegram_id?: number
        }
        Relationships: []
      }
      tma_chat_settings: {
        Row: {
          muted: string[]
          quiet_from: string | null
          quiet_to: string | null
          telegram_id: number
          timezone: string | null
          updated_at: string
        }
        ComputedFields: never
        Insert: {
          muted?: string[]
          quiet_from?: string | null
          quiet_to?: string | null
          telegram_id?: number
          timezone?: string | null
          updated_at?: string
        }
        Update: {
          muted?: string[]
          quiet_from?: string | null
          quiet_to?: string | null
          telegram_id?: number
          timezone?: string | null
          updated_at?: string
        }
        Relationships: []
      }
      tma_events: {
        Row: {
          attempt: number
          behind: boolean
          claimed_at: string | null
          created_at: string | null
          dedupe_key: string | null
          deliver_after: string
          delivered_at: string | null
          edits: number | null
          error: string | null
          event_type: string
          failure: string | null
          gathered_into: number | null
          held_by: string | null
          id: number
          lead_id: number | null
          lead_visible: boolean | null
          locale: string | null
          message_id: number | null
          options: Json | null
          payload: Json | null
          priority: number
          replaces: string | null
          retries: number
          retry_at: string | null
          send_started_at: string | null
          settled_at: string | null
          status: string
          telegram_id: number
        }
        ComputedFields: never
        Insert: {
          attempt?: number
          behind?: boolean
          claimed_at?: string | null
          created_at?: string | null
          dedupe_key?: string | null
          deliver_after?: string
          delivered_at?: string | null
          edits?: number | null
          error?: string | null
          event_type: string
          failure?: string | null
          gathered_into?: number | null
          held_by?: string | null
          id?: number
          lead_id?: number | null
          lead_visible?: boolean | null
          locale?: string | null
          message_id?: number | null
          options?: Json | null
          payload?: Json | null
          priority?: number
          replaces?: string | null
          retries?: number
          retry_at?: string | null
          send_started_at?: string | null
          settled_at?: string | null
          status?: string
          telegram_id?: number
        }
        Update: {
          attempt?: number
          behind?: boolean
          claimed_at?: string | null
          created_at?: string | null
          dedupe_key?: string | null
          deliver_after?: string
          delivered_at?: string | null
          edits?: number | null
          error?: string | null
          event_type?: string
          failure?: string | null
          gathered_into?: number | null
          held_by?: string | null
          id?: number
          lead_id?: number | null
          lead_visible?: boolean | null
          locale?: string | null
          message_id?: number | null
          options?: Json | null
          payload?: Json | null
          priority?: number
          replaces?: string | null
          retries?: number
          retry_at?: string | null
          send_started_at?: string | null
          settled_at?: string | null
          status?: string
          telegram_id?: number
        }
        Relationships: []
      }
    }
    Views: {
      [_ in never]: never
    }
    Functions: {
      claim_tma_events: {
        Args: {
          p_digests?: Json
          p_key: string
          p_limit: number
          p_limits?: Json
          p_start_now?: number
        }
        Returns: Json
      }
      claim_tma_requests: {
        Args: { p_limit: number; p_table: string }
        Returns: {
          attempt: number
          id: number
          request: string
        }[]
      }
      count_failed_tma_events: {
        Args: { p_failure?: string; p_ids?: number[]; p_since?: string; p_until?: string }
        Returns: Json
      }
      count_tma_requests: { Args: { p_table: string }; Returns: Json }
      delete_tma_probe: { Args: { p_id: number }; Returns: undefined }
      delete_tma_user_probe: { Args: { p_dedupe_key: string }; Returns: undefined }
      failed_tma_events: {
        Args: { p_limit?: number; p_seconds: number }
        Returns: {
          error: string
          events: number
          failure: string
          last_at: string
          latest_ids: number[]
          of_failure: number
        }[]
      }
      insert_tma_probe: { Args: Record<PropertyKey, never>; Returns: number }
      purge_tma_events: { Args: { p_keep: string; p_limit?: number }; Returns: number }
      recent_tma_events: {
        Args: { p_limit?: number; p_seconds: number }
        Returns: {
          attempt: number
          error: string
          event_type: string
          failure: string
          id: number
          message_id: number
          settled_at: string
          status: string
          took_seconds: number
        }[]
      }
      recover_tma_events: {
        Args: { p_lease: string; p_resend_uncertain: boolean }
        Returns: Record<string, unknown>
      }
      recover_tma_requests: {
        Args: { p_lease: string; p_table: string }
        Returns: Record<string, unknown>
      }
      register_tma_bot: { Args: { p_bot_id: number; p_key: string }; Returns: undefined }
      release_tma_events: { Args: { p_claims: Json }; Returns: number[] }
      release_tma_requests: { Args: { p_claims: Json; p_table: string }; Returns: number[] }
      report_tma_progress: {
        Args: { p_attempt: number; p_event: Json; p_id: number; p_table: string }
        Returns: boolean
      }
      reschedule_tma_event: { Args: { p_at: string; p_dedupe_key: string }; Returns: Json }
      retry_tma_events: {
        Args: {
          p_failure?: string
          p_ids?: number[]
          p_limit?: number
          p_since?: string
          p_until?: string
        }
        Returns: number[]
      }
      settle_tma_events: { Args: { p_outcomes: Json }; Returns: number[] }
      settle_tma_requests: { Args: { p_outcomes: Json; p_table: string }; Returns: number[] }
      start_tma_events: { Args: { p_claims: Json }; Returns: number[] }
      sweep_tma: {
        Args: {
          p_lease: string
          p_replica?: Json
          p_request_leases?: Json
          p_resend_uncertain: boolean
        }
        Returns: Json
      }
      tma_backlog: { Args: Record<PropertyKey, never>; Returns: Json }
      tma_bridge_check: { Args: Record<PropertyKey, never>; Returns: Json }
      tma_event_content: { Args: { p_id: number }; Returns: Json }
      tma_event_details: { Args: { p_id: number }; Returns: Json }
      tma_event_minutes: { Args: Record<PropertyKey, never>; Returns: Json }
      tma_event_stats: { Args: Record<PropertyKey, never>; Returns: Json }
      tma_event_ways: {
        Args: { p_limit?: number }
        Returns: {
          attempt: number
          claimed_ms: number
          due_at: string
          ended_ms: number
          error: string
          event_type: string
          failure: string
          gathered_into: number
          held_by: string
          id: number
          retry_at: string
          started_ms: number
          status: string
        }[]
      }
      tma_lead_context: { Args: { p_lead_id: number }; Returns: Json }
      tma_lead_name: { Args: { p_lead_id: number }; Returns: string }
      tma_may_see_lead: { Args: { p_lead_id: number; p_telegram_id: number }; Returns: boolean }
      tma_replicas: { Args: Record<PropertyKey, never>; Returns: Json }
      tma_user_id: { Args: Record<PropertyKey, never>; Returns: number }
      waiting_tma_events: {
        Args: { p_limit?: number }
        Returns: {
          event_type: string
          events: number
          scheduled: number
        }[]
      }
      withdraw_tma_event: { Args: { p_dedupe_key: string }; Returns: Json }
      withdraw_tma_events: { Args: { p_ids: number[] }; Returns: number[] }
      withdraw_waiting_tma_events: {
        Args: { p_event_type: string; p_limit?: number }
        Returns: number[]
      }
    }
    Enums: {
      [_ in never]: never
    }
    CompositeTypes: {
      [_ in never]: never
    }
  }
}

type DatabaseWithoutInternals = Omit<Database, '__InternalSupabase'>

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, 'public'>]

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema['Tables'] & DefaultSchema['Views'])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables'] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Views'])
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables'] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Views'])[TableName] extends {
      Row: infer R
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema['Tables'] & DefaultSchema['Views'])
    ? (DefaultSchema['Tables'] & DefaultSchema['Views'])[DefaultSchemaTableNameOrOptions] extends {
        Row: infer R
      }
      ? R
      : never
    : never

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema['Tables']
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables']
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables'][TableName] extends {
      Insert: infer I
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema['Tables']
    ? DefaultSchema['Tables'][DefaultSchemaTableNameOrOptions] extends {
        Insert: infer I
      }
      ? I
      : never
    : never

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema['Tables']
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables']
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions['schema']]['Tables'][TableName] extends {
      Update: infer U
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema['Tables']
    ? DefaultSchema['Tables'][DefaultSchemaTableNameOrOptions] extends {
        Update: infer U
      }
      ? U
      : never
    : never

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema['Enums']
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends (DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions['schema']]['Enums']
    : never) = never,
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions['schema']]['Enums'][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema['Enums']
    ? DefaultSchema['Enums'][DefaultSchemaEnumNameOrOptions]
    : never

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema['CompositeTypes']
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends (PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions['schema']]['CompositeTypes']
    : never) = never,
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions['schema']]['CompositeTypes'][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema['CompositeTypes']
    ? DefaultSchema['CompositeTypes'][PublicCompositeTypeNameOrOptions]
    : never

export const Constants = {
  public: {
    Enums: {},
  },
} as const
