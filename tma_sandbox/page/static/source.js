// Values as JavaScript source.

/** The members of an object, one per line. */
export function lines(row) {
  const spaced = (value) => JSON.stringify(value, null, 1).replaceAll(/\n */g, ' ')
  return Object.entries(row).map(([key, value]) => `  ${key}: ${spaced(value)},\n`).join('')
}
