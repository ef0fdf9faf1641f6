// Times and figures as a reader has them.

const today = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' })
const before = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' })
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })
const number = new Intl.NumberFormat()

export function when(text) {
  const time = new Date(text)
  return new Date().toDateString() === time.toDateString() ? today.format(time) : before.format(time)
}
export const exactly = text => whole.format(new Date(text))
export const count = (many, one) => `${number.format(many)} ${many === 1 ? one : `${one}s`}`
export const duration = ms => ms < 1000 ? `${number.format(ms)} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`
