// The last hour as three small charts, drawn as SVG.

import { node } from './dom.js'
import { count, span } from './text.js'

const SVG = 'http://www.w3.org/2000/svg'
const WIDTH = 600
const HEIGHT = 90
const STEP = WIDTH / 60

function shape(tag, attributes, className) {
  const element = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  if (className) element.setAttribute('class', className)
  return element
}

/** One chart with its heading, its largest value and a legend. */
export class Chart {
  constructor(parent, title) {
    this.svg = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' })
    this.title = title
    this.top = node('span', 'top-value')
    this.legend = node('p', 'legend')
    const head = node('figcaption')
    head.append(node('span', '', title), this.top)
    const figure = node('figure')
    const ends = node('p', 'ends')
    ends.append(node('span', '', '60 min ago'), node('span', '', 'now'))
    figure.append(head, this.svg, ends, this.legend)
    parent.append(figure)
    this.show([], 'not known yet', [])
  }

  /** Draw bars on one another; each series is {name, className, values}. */
  bars(series) {
    const totals = Array.from({ length: 60 }, (_, at) => series.reduce((sum, { values }) => sum + values[at], 0))
    const most = Math.max(...totals)
    const heights = new Array(60).fill(0)
    const drawn = series.flatMap(({ className, values }) => values.flatMap((value, at) => {
      if (!value) return []
      const height = Math.max(1.5, value / most * HEIGHT)
      heights[at] += height
      const y = HEIGHT - heights[at]
      return [shape('rect', { x: at * STEP + 1, y, width: STEP - 2, height }, className)]
    }))
    const all = series.map(({ name, className, values }) => [name, className, count(values.reduce((a, b) => a + b, 0))])
    this.show(drawn, most ? `at most ${count(most)}` : 'none', all)
  }

  /** Draw lines of seconds, broken where nothing is known. */
  lines(series) {
    const known = series.flatMap(({ values }) => values.filter((value) => value !== null))
    const most = Math.max(...known, 0)
    const drawn = series.map(({ className, values }) => shape('path', { d: path(values, most) }, className))
    const all = series.map(({ name, className, total }) => [name, className, total === null ? '–' : span(total)])
    this.show(drawn, known.length ? `at most ${span(most)}` : 'none', all)
  }

  show(drawn, top, all) {
    this.svg.replaceChildren(...drawn)
    const totals = all.map(([name, , total]) => `${total} ${name}`).join(', ')
    this.svg.setAttribute('aria-label', [this.title, totals, top].filter(Boolean).join('; '))
    this.top.textContent = top
    this.legend.replaceChildren(...all.map(([name, className, total]) => {
      const entry = node('span', 'entry')
      entry.append(node('i', className), `${total} ${name}`)
      return entry
    }))
  }
}

function path(values, most) {
  let drawing = false
  return values.map((value, at) => {
    if (value === null) {
      drawing = false
      return ''
    }
    const [x, y] = [(at + 0.5) * STEP, HEIGHT - 1 - (most ? value / most * (HEIGHT - 3) : 0)]
    const alone = !drawing && (values[at + 1] ?? null) === null
    const move = drawing ? 'L' : 'M'
    drawing = true
    return `${move}${x.toFixed(1)} ${y.toFixed(1)}${alone ? 'h0.1' : ''}`
  }).join('')
}
