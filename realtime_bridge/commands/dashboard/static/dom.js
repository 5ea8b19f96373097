// Elements. Nothing here becomes HTML: text stays text.

export const $ = (id) => document.getElementById(id)

/** Make an element with a class and a text. */
export function node(tag, className = '', text = '') {
  const element = document.createElement(tag)
  if (className) element.className = className
  if (text !== '') element.textContent = text
  return element
}

/** Make a button that does something. */
export function button(text, press, className = 'quiet') {
  const element = node('button', className, text)
  element.type = 'button'
  element.addEventListener('click', press)
  return element
}

/** Write a text only if it changed: a screen reader says it again otherwise. */
export function say(element, text, className) {
  if (element.textContent !== text) element.textContent = text
  if (className !== undefined && element.className !== className) element.className = className
}

/** Shows a list of items, each drawn anew only where it changed; the focus stays. */
export class Listing {
  constructor(parent, key, draw) {
    Object.assign(this, { parent, key, draw, shown: new Map() })
  }

  /** Show exactly these items in this order. Return the elements that are new. */
  show(items) {
    const before = this.shown
    const fresh = []
    this.shown = new Map()
    let place = this.parent.firstElementChild
    for (const item of items) {
      const key = String(this.key(item))
      const state = JSON.stringify(item)
      const known = before.get(key)
      before.delete(key)
      const element = known?.state === state ? known.element : this.draw(item)
      if (known && known.element !== element) {
        if (place === known.element) place = place.nextElementSibling
        replace(known.element, element)
      }
      if (!known) fresh.push(element)
      if (element === place) place = place.nextElementSibling
      else if (element.nextElementSibling !== place || element.parentElement !== this.parent) {
        this.parent.insertBefore(element, place)
      }
      this.shown.set(key, { state, element })
    }
    for (const { element } of before.values()) element.remove()
    return fresh
  }
}

/** Put one element in the place of another, and the focus where it was in that. */
function replace(old, element) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null
  const at = focused ? focusable(old).indexOf(focused) : -1
  old.replaceWith(element)
  if (at >= 0) focusable(element)[at]?.focus({ preventScroll: true })
}

const focusable = (element) => [...element.querySelectorAll('a, button, input, summary')]
