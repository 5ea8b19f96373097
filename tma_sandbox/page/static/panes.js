// The Mini App, and what connects it and the chat to the stack.

import { Chat } from './chat.js'
import { lines } from './source.js'
import { Wishes } from './wishes.js'

const STEPS = ['Say hello', 'Send the proposal', 'Call back', 'Sign the contract']
const MESSAGES_WAIT_S = 20
const RETRY_MS = 1500

const $ = (id) => document.getElementById(id)
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds))

async function get(path) {
  const response = await fetch(path)
  if (!response.ok) throw new Error(`${path}: ${response.status}`)
  return response.json()
}

// The Mini App: what yours would do.

class MiniApp {
  constructor({ anon_key: anonKey, init_data: initData }) {
    this.supabase = window.supabase?.createClient(location.origin, anonKey, {
      global: { headers: { 'x-telegram-init-data': initData } },
      auth: { persistSession: false, autoRefreshToken: false },
    })
    this.leads = new Map() // name -> id
    this.step = 1
    this.showLead()
    this.showStep()
    $('lead-name').addEventListener('input', () => this.showLead())
    for (const form of document.forms) form.addEventListener('submit', (event) => this.submit(event))
    if (!this.supabase) this.tell('supabase-js could not be loaded: see the terminal.', 'bad')
  }

  get lead() {
    const name = $('lead-name').value
    if (!this.leads.has(name)) this.leads.set(name, 1001 + this.leads.size)
    return { id: this.leads.get(name), name }
  }

  async submit(event) {
    event.preventDefault()
    const fields = Object.fromEntries(new FormData(event.target))
    const { type, payload } = this.event(event.submitter?.value || event.target.dataset.event, fields)
    const { id, name } = this.lead
    await this.insert({ event_type: type, lead_id: id, payload: { lead_name: name, ...payload } })
    if (event.target.dataset.event === 'step') this.nextStep(event.target)
  }

  event(type, fields) {
    switch (type) {
      case 'step_completed':
        return { type, payload: { step_id: this.step, ...next(this.step + 1) } }
      case 'step_skipped':
        return { type, payload: { step_id: this.step, ...(fields.reason && { reason: fields.reason }) } }
      case 'other':
        return { type: fields.event_type, payload: {} }
      default:
        return { type, payload: fields }
    }
  }

  async insert(row) {
    const source = `await supabase.from("tma_events").insert({\n${lines(row)}})`
    await this.run(source, (supabase) => supabase.from('tma_events').insert(row), 'Inserted')
  }

  /** Call, show the call's source, and say what came of it: a text, or what makes one of the answer. */
  async run(source, call, done) {
    if (!this.supabase) return false
    $('call').textContent = source
    const began = performance.now()
    const { data, error } = await call(this.supabase)
    const took = Math.round(performance.now() - began)
    if (error) this.tell([error.message, error.hint].filter(Boolean).join(' – '), 'bad')
    else this.tell(`${typeof done === 'function' ? done(data) : done} (${took} ms):`, 'good')
    return !error
  }

  /** Open at the lead that a message's button names, as Telegram would. */
  async open(url) {
    const lead = url && new URL(url).searchParams.get('startapp')?.match(/^lead_(\d+)$/)?.[1]
    if (!lead || !this.supabase) return
    const { data, error } = await this.supabase
      .from('tma_events').select('payload').eq('lead_id', lead).order('id', { ascending: false }).limit(1)
    if (error) return this.tell(error.message, 'bad')
    const name = data[0]?.payload?.lead_name ?? ''
    this.leads.set(name, Number(lead))
    $('lead-name').value = name
    this.showLead()
    this.tell(`Opened at lead ${lead} by the button. Its name was read back with:`)
    $('call').textContent =
      `await supabase.from("tma_events").select("payload").eq("lead_id", ${lead})`
    $('mini-app').scrollIntoView({ behavior: 'smooth', block: 'nearest' })
    $('lead-name').focus({ preventScroll: true })
  }

  nextStep(form) {
    this.step = (this.step % STEPS.length) + 1
    form.reset()
    this.showStep()
  }

  showStep() {
    $('step-title').textContent = `Step ${this.step} of ${STEPS.length}: ${STEPS[this.step - 1]}`
  }

  showLead() {
    $('lead-id').textContent = `lead ${this.lead.id}`
  }

  tell(text, mood = '') {
    $('outcome').textContent = text
    $('outcome').className = mood
  }
}

/** The part of a completed step's payload about the next step, due in three days. */
function next(step) {
  if (step > STEPS.length) return {}
  const due = new Date(Date.now() + 3 * 24 * 3600 * 1000).toISOString().slice(0, 10)
  return { next_step_id: step, next_step_desc: STEPS[step - 1], next_step_due: due }
}

// The stack's side.

async function followMessages(chat, userId) {
  for (let last = 0; ;) {
    const messages = await get(`/_sent?changed_after=${last}&wait=${MESSAGES_WAIT_S}`)
    chat.show(messages.filter((message) => message.chat_id === userId))
    last = Math.max(last, ...messages.map((message) => message.change))
  }
}

function armFault(button) {
  button.addEventListener('click', async () => {
    await fetch('/_faults', { method: 'POST', body: button.dataset.fault })
    $('outcome').textContent = `Armed. ${button.title}`
    $('outcome').className = ''
  })
}

/** Say that the demo has stopped, and reload when it runs again. */
async function over() {
  $('notice').hidden = false
  $('notice').textContent = 'The demo has stopped. This continues when it runs again at this address.'
  for (;;) {
    await pause(RETRY_MS)
    const back = await get('/demo/session').catch(() => undefined)
    if (back) return location.reload()
  }
}

async function main() {
  const session = await get('/demo/session')
  const { user } = session
  $('user').textContent = `${user.first_name}, signed by the local Bot API`
  const app = new MiniApp(session)
  new Wishes(app)
  for (const button of document.querySelectorAll('[data-fault]')) armFault(button)
  const chat = new Chat($('messages'), (url) => app.open(url))
  await followMessages(chat, user.id)
}

/** A page that frames this one gives it the height that it needs. */
if (parent !== window) {
  new ResizeObserver(() => parent.postMessage({ height: document.body.scrollHeight }, '*')).observe(document.body)
}

main().catch((error) => {
  console.error(error)
  return over()
})
