// What waits, by type: asked for only while somebody looks, as all of it is counted.

import { get } from './api.js'
import { $, button, Listing, node, say } from './dom.js'
import { count } from './text.js'
import { withdrawType } from './withdraw.js'

const AGAIN_MS = 5000

export class Waiting {
  constructor() {
    this.types = new Listing($('waiting'), ({ event_type: type }) => type, (type) => this.drawn(type))
    $('waiting-part').addEventListener('toggle', () => this.look())
  }

  async look() {
    clearTimeout(this.timer)
    if (!$('waiting-part').open) return
    try {
      const types = await get('/api/waiting')
      this.types.show(types)
      say($('no-waiting'), types.length ? '' : 'Nothing waits.')
    } catch (error) {
      say($('no-waiting'), error.message)
    }
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.look(), AGAIN_MS)
  }

  drawn({ event_type: type, events, scheduled }) {
    const line = node('tr')
    const head = node('th', '', type)
    head.scope = 'row'
    const act = node('td')
    act.append(button('Withdraw…', () => this.withdraw(type, events)))
    line.append(head, node('td', '', count(events)), node('td', '', count(scheduled)), act)
    return line
  }

  async withdraw(type, events) {
    const outcome = await withdrawType(type, events)
    if (!outcome) return
    const [text, mood] = outcome
    say($('withdrawn'), text, `outcome ${mood}`)
    await this.look()
  }
}
