// One row: all its columns, why it waits, and, only when asked for, what its user wrote.

import { get, post } from './api.js'
import { $, button, node, say } from './dom.js'
import { count, moment, ordinal, span } from './text.js'

const TIMES = ['created_at', 'deliver_after', 'retry_at', 'claimed_at', 'send_started_at', 'delivered_at', 'settled_at']
const DERIVED = ['due_in_seconds', 'ahead', 'first_id', 'payload_bytes']

export class RowPage {
  /** `retry(filters, what)` is called when somebody wants this row sent again. */
  constructor(retry) {
    this.retry = retry
    this.dialog = $('row')
    $('row-close').addEventListener('click', () => this.dialog.close())
    this.dialog.addEventListener('close', () => {
      if (location.hash) history.replaceState(null, '', location.pathname)
    })
    addEventListener('hashchange', () => this.open())
    this.open()
  }

  async open() {
    const id = location.hash.match(/^#row-(\d{1,18})$/)?.[1]
    if (!id) return this.dialog.close()
    say($('row-title'), `Row #${id}`)
    for (const part of ['row-columns', 'row-actions', 'row-content']) $(part).replaceChildren()
    say($('row-why'), 'Asking…')
    if (!this.dialog.open) this.dialog.showModal()
    try {
      this.show(await get(`/api/rows/${id}`))
    } catch (error) {
      say($('row-why'), error.message)
    }
  }

  show(row) {
    say($('row-why'), why(row))
    $('row-columns').replaceChildren(...Object.entries(row).flatMap(column))
    const actions = [button('Show chat and payload', () => this.content(row.id))]
    if (row.status === 'failed') {
      actions.push(button('Retry…', () => {
        this.dialog.close()
        this.retry({ ids: [row.id] }, `row #${row.id}`)
      }, ''))
    }
    $('row-actions').replaceChildren(...actions)
  }

  async content(id) {
    try {
      const { payload, ...columns } = await post(`/api/rows/${id}/content`)
      const list = node('dl')
      list.append(...Object.entries(columns).flatMap(column))
      const text = node('pre', '', payload ?? 'null')
      text.tabIndex = 0
      text.setAttribute('role', 'region')
      text.setAttribute('aria-label', 'Payload')
      $('row-content').replaceChildren(list, text)
    } catch (error) {
      $('row-content').replaceChildren(node('p', 'bad', error.message))
    }
  }
}

function column([name, value]) {
  if (DERIVED.includes(name) && name !== 'payload_bytes') return []
  return [node('dt', '', name), node('dd', '', shown(name, value))]
}

function shown(name, value) {
  if (value === null || value === undefined) return '–'
  if (TIMES.includes(name)) return `${moment(value)} (${value})`
  return typeof value === 'number' ? count(value) : String(value)
}

function why(row) {
  if (row.status === 'delivered') return `Delivered, as message ${row.message_id ?? 'unknown'}.`
  if (row.status === 'failed') return `Failed: ${row.failure}. ${row.error ?? ''}`
  if (row.status === 'processing') {
    return row.send_started_at ? 'On its way: Telegram has been asked.' : 'A bridge has it, and has not sent it yet.'
  }
  const reasons = []
  if (row.ahead) {
    const many = row.ahead >= 1000 ? '1,000 or more rows go' : `It is the ${ordinal(row.ahead + 1)}`
    reasons.push(row.ahead >= 1000
      ? `${many} before it in its chat, first #${row.first_id}.`
      : `${many} in its chat, behind #${row.first_id}.`)
  }
  if (row.due_in_seconds > 0) {
    reasons.push(`${row.retry_at ? 'It is tried again' : 'It is due'} in ${span(row.due_in_seconds)}.`)
  }
  if (row.error) reasons.push(`Last time: ${row.error}`)
  return reasons.length ? `Waits. ${reasons.join(' ')}` : 'Waits for the next claim.'
}
