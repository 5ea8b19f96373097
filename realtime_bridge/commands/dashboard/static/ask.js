// One question at a time, before anything is done that users notice.

import { $, button, say } from './dom.js'

/**
 * Ask; resolves to what was chosen, null for nothing. The buttons are [text, what is chosen, class];
 * the first one has the focus, and should do nothing.
 */
export function ask({ title, text, warning = '', choices }) {
  const dialog = $('ask')
  say($('ask-title'), title)
  say($('ask-text'), text)
  say($('ask-warning'), warning)
  return new Promise((resolve) => {
    const answered = new AbortController()
    const end = (choice) => {
      answered.abort()
      resolve(choice)
    }
    const choose = (choice) => () => {
      end(choice)
      dialog.close()
    }
    $('ask-actions').replaceChildren(...choices
      .map(([words, choice, className]) => button(words, choose(choice), className)))
    // A browser tells of a close a little later: by then the next question may be open.
    dialog.addEventListener('close', () => dialog.open || end(null), { signal: answered.signal })
    dialog.showModal()
  })
}
