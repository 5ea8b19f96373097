// Numbers and times as a person reads them.

export const count = (number) => number.toLocaleString('en')

/** "1 row", "3 rows". */
export const rows = (number) => `${count(number)} ${number === 1 ? 'row' : 'rows'}`

/** A span of time in the unit that fits. */
export function span(seconds) {
  if (seconds < 0.9995) return `${Math.max(0, Math.round(seconds * 1000))} ms`
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  for (const [unit, size] of [['d', 86400], ['h', 3600], ['min', 60]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`
  }
  return `${Math.round(seconds)} s`
}

/** A time of the database's by this browser's clock: today's without the day. */
export function moment(text) {
  const at = new Date(text)
  const time = at.toLocaleTimeString('en-GB')
  const today = at.toDateString() === new Date().toDateString()
  return today ? time : `${at.toLocaleDateString('en-CA')} ${time}`
}

/** The same without seconds, rounded: a time that somebody has set to a minute. */
export const minute = (at) => moment(Math.round(new Date(at) / 60_000) * 60_000).replace(/:\d\d$/, '')

/** The same, with the milliseconds of a time of today. */
export function clock(text) {
  const at = new Date(text)
  const told = moment(text)
  return told.includes(' ') ? told : `${told}.${String(at.getMilliseconds()).padStart(3, '0')}`
}

/** 1st, 2nd, 3rd, 4th, 11th ... */
export function ordinal(number) {
  const last = number % 100 > 10 && number % 100 < 14 ? 0 : number % 10
  return `${count(number)}${['th', 'st', 'nd', 'rd'][last] ?? 'th'}`
}
