// What an app may want beside one message for one row: one for many, one that changes, one taken back,
// or none at all.

import { lines } from './source.js'

const TAPS = 10
const REMINDER_MS = 60_000

const $ = (id) => document.getElementById(id)

export class Wishes {
  /** `app` has the client (`supabase`), the `lead`, and says what happens (`run`). */
  constructor(app) {
    this.app = app
    this.reminders = [] // their keys, the newest last
    this.muted = []
    $('taps').addEventListener('click', () => this.tap())
    $('plan').addEventListener('click', () => this.plan())
    $('remind').addEventListener('click', () => this.remind())
    $('withdraw').addEventListener('click', () => this.withdraw())
    $('mute').addEventListener('click', () => this.mute())
    this.type.addEventListener('input', () => this.showMuted())
    this.mutedIsRead = this.readMuted()
  }

  get type() {
    return document.forms.other.elements.event_type
  }

  /** Ten inserts at once: the bridge gathers this type, and sends one message. */
  async tap() {
    const { id, name } = this.app.lead
    const row = (tap) => ({ event_type: 'lead_tapped', lead_id: id, payload: { lead_name: name, tap } })
    const taps = Array.from({ length: TAPS }, (_, at) => at + 1)
    await this.app.run(
      `for (const tap of [1, …, ${TAPS}]) supabase.from("tma_events").insert({\n${lines(row('tap'))}})`,
      async (supabase) => {
        const answers = await Promise.all(taps.map((tap) => supabase.from('tma_events').insert(row(tap))))
        return answers.find(({ error }) => error) ?? answers[0]
      },
      `${TAPS} rows inserted; they become one message`,
    )
  }

  /** A request: the planner says how far it has got, in one message that changes. */
  async plan() {
    const { id, name } = this.app.lead
    const row = { lead_id: id, payload: { lead_name: name } }
    await this.app.run(
      `await supabase.from("plan_requests").insert({\n${lines(row)}})`,
      (supabase) => supabase.from('plan_requests').insert(row),
      'Asked for a plan; its progress is one message that changes',
    )
  }

  async remind() {
    const { id, name } = this.app.lead
    const row = {
      event_type: 'step_due',
      lead_id: id,
      payload: { lead_name: name, step_desc: 'Call back' },
      dedupe_key: `reminder:${crypto.randomUUID()}`,
      deliver_after: new Date(Date.now() + REMINDER_MS).toISOString(),
    }
    const done = await this.app.run(
      `await supabase.from("tma_events").insert({\n${lines(row)}})`,
      (supabase) => supabase.from('tma_events').insert(row),
      'A reminder waits for a minute; until then it can be withdrawn',
    )
    if (done) this.reminders.push(row.dedupe_key)
    this.showReminders()
  }

  async withdraw() {
    const key = this.reminders.at(-1)
    const done = await this.app.run(
      `await supabase.rpc("withdraw_tma_event", {\n${lines({ p_dedupe_key: key })}})`,
      (supabase) => supabase.rpc('withdraw_tma_event', { p_dedupe_key: key }),
      (answer) => (answer?.done ? 'Withdrawn: it is never sent' : 'Too late: it has been sent'),
    )
    if (done) this.reminders.pop()
    this.showReminders()
  }

  showReminders() {
    $('withdraw').disabled = !this.reminders.length
  }

  async readMuted() {
    const { data } = (await this.app.supabase?.from('tma_chat_settings').select('muted')) ?? {}
    this.muted = data?.[0]?.muted ?? []
    this.showMuted()
  }

  /** Mute the type that is typed in, or let it be heard again. */
  async mute() {
    await this.mutedIsRead // or its late answer would undo what is done here
    const type = this.type.value
    const off = this.muted.includes(type)
    const muted = off ? this.muted.filter((one) => one !== type) : [...this.muted, type]
    const done = await this.app.run(
      `await supabase.from("tma_chat_settings").upsert({\n${lines({ muted })}})`,
      (supabase) => supabase.from('tma_chat_settings').upsert({ muted }),
      off ? `${type} is told again` : `${type} is muted: its rows end without a message`,
    )
    if (done) this.muted = muted
    this.showMuted()
  }

  showMuted() {
    $('mute').textContent = this.muted.includes(this.type.value) ? 'Unmute' : 'Mute'
  }
}
