// A Telegram text and its entities, as a tree to render.

/**
 * Nest entities by where they begin and end.
 *
 * @param {string} text what the user reads
 * @param {{type: string, offset: number, length: number}[]} entities in UTF-16 units, as
 *   JavaScript counts; in reading order, outer ones first
 * @returns {(string | {entity: object, children: any[]})[]}
 */
export function tree(text, entities, start = 0, end = text.length) {
  const nodes = []
  let at = start
  for (const [index, entity] of entities.entries()) {
    const last = Math.min(entity.offset + entity.length, end)
    if (entity.offset < at || entity.offset >= end || last <= entity.offset) continue
    if (entity.offset > at) nodes.push(text.slice(at, entity.offset))
    const children = tree(text, entities.slice(index + 1), entity.offset, last)
    nodes.push({ entity, children })
    at = last
  }
  if (at < end) nodes.push(text.slice(at, end))
  return nodes
}

/** The link if a page may open it, else undefined (javascript: and the like). */
export function safeLink(url) {
  return /^(https?|tg|mailto|tel):/i.test(url) ? url : undefined
}
