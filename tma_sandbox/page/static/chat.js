// The chat as Telegram would show it. Text is never parsed as HTML here.

import { safeLink, tree } from './entities.js'

const TAGS = {
  bold: 'strong', italic: 'em', underline: 'u', strikethrough: 's', code: 'code', pre: 'pre',
  blockquote: 'blockquote', expandable_blockquote: 'blockquote', spoiler: 'mark',
}
const KEPT = 100

/** Shows one chat in `list`; calls `open(url)` when a message's button is pressed. */
export class Chat {
  constructor(list, open) {
    this.list = list
    this.open = open
    this.shown = new Map() // message's number -> its element
    this.empty = node('p', 'empty', 'No messages yet. The first one arrives in a moment.')
    list.append(this.empty)
  }

  /** Show messages as they are now, oldest first: new ones at the end, edited ones in their place. */
  show(messages) {
    if (!messages.length) return
    const { list } = this
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40
    this.empty.remove()
    for (const message of messages) this.place(message)
    for (const [number, element] of this.shown) {
      if (this.shown.size <= KEPT) break
      element.remove()
      this.shown.delete(number)
    }
    if (atEnd) list.scrollTop = list.scrollHeight
  }

  place(message) {
    const before = this.shown.get(message.number)
    if (!before && message.edited_at && this.forgotten(message)) return
    const element = this.bubble(message)
    if (before) before.replaceWith(element)
    else this.list.append(element)
    this.shown.set(message.number, element)
  }

  /** Whether it was sent before those that are shown, and is not among them any more. */
  forgotten({ number }) {
    const [oldest] = this.shown.keys()
    return oldest !== undefined && number < oldest
  }

  bubble(message) {
    const item = node('div', 'message')
    const text = node('div', 'bubble')
    text.append(...drawn(tree(message.text, message.entities ?? [])))
    const at = new Date(message.received_at * 1000)
    const time = node('time', '', at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }))
    time.dateTime = at.toISOString()
    if (message.edited_at) time.prepend('edited ')
    text.append(time)
    item.append(text)
    for (const row of message.reply_markup?.inline_keyboard ?? []) item.append(this.buttons(row))
    return item
  }

  buttons(row) {
    const line = node('div', 'keyboard')
    for (const { text, url, web_app: app } of row) {
      const button = node('button', '', text)
      button.type = 'button'
      button.addEventListener('click', () => this.open(url ?? app?.url))
      line.append(button)
    }
    return line
  }
}

function drawn(nodes) {
  return nodes.map((part) => {
    if (typeof part === 'string') return document.createTextNode(part)
    const element = styled(part.entity)
    element.append(...drawn(part.children))
    return element
  })
}

function styled(entity) {
  const link = entity.type === 'text_link' && safeLink(entity.url)
  if (!link) return node(TAGS[entity.type] ?? 'span')
  const anchor = node('a')
  anchor.href = link
  anchor.target = '_blank'
  anchor.rel = 'noreferrer'
  return anchor
}

/** Make an element with a class and a text. */
export function node(tag, className = '', text = '') {
  const element = document.createElement(tag)
  if (className) element.className = className
  if (text) element.textContent = text
  return element
}
