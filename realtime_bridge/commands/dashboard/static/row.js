// One row: all its columns, why it waits, how its attempts ended, and, only when asked for, what its
// user wrote.

import { get, post } from './api.js'
import { $, button, node, say } from './dom.js'
import { ends } from './history.js'
import { count, moment } from './text.js'
import { why } from './why.js'
import { withdraw } from './withdraw.js'

const TIMES = ['created_at', 'deliver_after', 'retry_at', 'claimed_at', 'send_started_at', 'delivered_at', 'settled_at']
const DERIVED = ['turn', 'history']
const AGAIN_MS = 1000

export class RowPage {
  /** `retry(filters, what)` is called when somebody wants this row sent again. */
  constructor(retry) {
    this.retry = retry
    this.dialog = $('row')
    $('row-close').addEventListener('click', () => this.dialog.close())
    this.dialog.addEventListener('close', () => {
      if (this.dialog.open) return // told late: the next row is shown already
      clearTimeout(this.timer)
      if (location.hash) history.replaceState(null, '', location.pathname)
    })
    addEventListener('hashchange', () => this.open())
    this.open()
  }

  async open() {
    const id = location.hash.match(/^#row-(\d{1,18})$/)?.[1]
    if (!id) return this.dialog.close()
    say($('row-title'), `Row #${id}`)
    for (const part of ['row-columns', 'row-history', 'row-actions', 'row-content']) $(part).replaceChildren()
    $('row-history-part').hidden = true
    say($('row-outcome'), '', '')
    say($('row-why'), 'Asking…')
    this.status = null
    if (!this.dialog.open) this.dialog.showModal()
    await this.look(id)
  }

  /** Look again and again while it is shown and not over. */
  async look(id) {
    clearTimeout(this.timer)
    let row
    try {
      row = await get(`/api/rows/${id}`)
    } catch (error) {
      return say($('row-why'), error.message)
    }
    if (!this.shows(id)) return
    this.show(row)
    if (!row.settled_at) this.timer = setTimeout(() => this.look(id), AGAIN_MS)
  }

  show(row) {
    say($('row-why'), why(row))
    $('row-columns').replaceChildren(...Object.entries(row).flatMap(column))
    const lines = ends(row.history)
    $('row-history-part').hidden = !lines.length
    if ($('row-history').childElementCount !== lines.length) $('row-history').replaceChildren(...lines)
    if (row.status === this.status) return // the focus may be on a button
    this.status = row.status
    const actions = [button('Show chat and payload', () => this.content(row.id))]
    if (row.status === 'failed') {
      actions.push(button('Retry…', () => {
        this.dialog.close()
        this.retry({ ids: [row.id] }, `row #${row.id}`)
      }, ''))
    }
    if (row.status === 'pending') actions.push(button('Withdraw…', () => this.withdraw(row.id)))
    const focused = $('row-actions').contains(document.activeElement)
    $('row-actions').replaceChildren(...actions)
    if (focused) actions[0].focus({ preventScroll: true })
  }

  async withdraw(id) {
    const outcome = await withdraw(id)
    if (!outcome || !this.shows(id)) return
    const [text, mood] = outcome
    say($('row-outcome'), text, `outcome ${mood}`)
    await this.look(id)
  }

  shows(id) {
    return this.dialog.open && location.hash === `#row-${id}`
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
  if (DERIVED.includes(name)) return []
  return [node('dt', '', name), node('dd', '', shown(name, value))]
}

function shown(name, value) {
  if (value === null || value === undefined) return '–'
  if (TIMES.includes(name)) return `${moment(value)} (${value})`
  return typeof value === 'number' ? count(value) : String(value)
}
