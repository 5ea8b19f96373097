// The wires of the page.

import { get } from './api.js'
import { Check } from './check.js'
import { $, say } from './dom.js'
import { Failures } from './failures.js'
import { follow } from './feed.js'
import { Hour } from './hour.js'
import { Now } from './now.js'
import { retry } from './retry.js'
import { RowPage } from './row.js'
import { stage } from './stage.js'
import { Waiting } from './waiting.js'
import { Ways } from './ways.js'

// The token in the address has been used: it need not stay in the history.
if (location.search) history.replaceState(null, '', location.pathname + location.hash)

const now = new Now()
const hour = new Hour()
const ways = new Ways()
const failures = new Failures(retry)
const check = new Check()
new RowPage(retry)
new Waiting()

let troubled = false

function trouble(text) {
  now.troubled(text)
  if (text && !troubled) check.run() // it knows more than the one call that failed
  troubled = Boolean(text)
}

function lost(text) {
  $('notice').hidden = !text
  say($('notice'), text)
}

follow({
  trouble,
  state: (state) => now.show(state),
  hour: (news) => {
    hour.show(news)
    now.pace(news.last_ten_seconds)
  },
  ways: (news) => ways.show(news),
  failures: (news) => failures.show(news),
}, lost)

get('/api/about').then((about) => {
  now.about(about)
  stage(about.panes)
}, (error) => lost(error.message))
