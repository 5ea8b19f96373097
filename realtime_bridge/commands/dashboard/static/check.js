// What `realtime-bridge check` says, with each fix to copy.

import { post } from './api.js'
import { $, button, Listing, node, say } from './dom.js'

const WORDS = { ok: 'ok', warning: 'warn', failed: 'fail', skipped: 'skip' }

export class Check {
  constructor() {
    this.findings = new Listing($('findings'), ({ place }) => place, drawn)
    this.running = false
    $('check').addEventListener('click', () => this.run())
  }

  async run() {
    if (this.running) return
    this.running = true
    say($('checked'), 'Looking at everything: takes up to half a minute…')
    try {
      const findings = await post('/api/check')
      this.findings.show(findings.map((finding, place) => ({ ...finding, place })))
      const bad = findings.filter(({ status }) => status === 'failed').length
      say($('checked'), `${bad ? `${bad} of ${findings.length} failed` : 'all is well'}, at ${new Date().toLocaleTimeString('en-GB')}`)
    } catch (error) {
      say($('checked'), error.message)
    } finally {
      this.running = false
    }
  }
}

function drawn({ name, status, detail, fix, milliseconds }) {
  const item = node('li')
  const took = milliseconds === null ? '' : ` (${Math.round(milliseconds)} ms)`
  item.append(node('span', `word ${status}`, WORDS[status]), node('span', 'what', `${name}: ${detail}${took}`))
  if (fix) item.append(mending(fix, name))
  return item
}

function mending(fix, name) {
  const box = node('div', 'fix')
  const text = node('pre', '', fix.text)
  text.tabIndex = 0
  text.setAttribute('role', 'region')
  text.setAttribute('aria-label', `Fix for ${name}`)
  const copy = button('Copy', async () => {
    try {
      await navigator.clipboard.writeText(fix.text)
      say(copy, 'Copied')
    } catch {
      getSelection().selectAllChildren(text)
      say(copy, 'Selected: press Ctrl-C')
    }
  })
  copy.setAttribute('aria-label', `Copy the fix for ${name}`)
  box.append(node('p', 'soft', `fix (${fix.where})`), copy, text)
  return box
}
