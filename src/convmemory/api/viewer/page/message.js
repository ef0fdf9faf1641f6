// One message, as an element: who says it, what, which tools and documents it leaned on, what it cost.

import { make } from './dom.js'
import { markup } from './markup.js'
import { count, duration, exactly, when } from './times.js'

const SPEAKERS = { human: 'You', ai: 'Assistant', system: 'System' }
const pretty = value => typeof value === 'string' ? value : JSON.stringify(value, null, 2)
const lines = (text, name) => make('pre', { tabindex: 0, class: name }, text)

export function folded(title, name, ...content) {
  return make('details', { class: `fold ${name}` }, make('summary', {}, ...[title].flat()), ...content)
}

export const callOf = call => folded(['Calls ', make('code', {}, call.name)], 'call', lines(pretty(call.args ?? call.arguments ?? {})))

export const resultOf = result =>
  folded([result.failed ? 'Failed: ' : 'Result of ', make('code', {}, result.name || 'a tool')], result.failed ? 'result failed' : 'result', lines(result.content || '(nothing)'))

function source(context) {
  const { url, source: from, link, title, page } = context.metadata ?? {}
  const address = [url, from, link].find(one => typeof one === 'string' && /^https?:\/\//i.test(one))
  const name = title || context.doc_id || (typeof from === 'string' && from) || 'a document'
  return make('li', {},
    make('span', { class: 'source-name' }, String(name), page === undefined || page === null ? '' : `, page ${page}`),
    context.score === null ? null : make('span', { class: 'score', title: 'score' }, `score ${Number(context.score).toFixed(2)}`),
    address ? make('a', { href: address, target: '_blank', rel: 'noopener noreferrer nofollow' }, address) : null,
    context.content ? make('blockquote', { tabindex: 0 }, context.content) : null)
}

export const sourcesOf = contexts =>
  folded(count(contexts.length, 'source'), 'sources', make('ol', {}, ...contexts.map(source)))

function figures(shown) {
  const told = []
  if (shown.tokens_used !== null) told.push(count(shown.tokens_used, 'token'))
  if (shown.latency_ms !== null) told.push(duration(shown.latency_ms))
  if (shown.facts?.model) told.push(String(shown.facts.model))
  return told.length ? make('footer', { class: 'note' }, told.join(' · ')) : null
}

export function messageOf(shown) {
  const speaker = SPEAKERS[shown.role] ?? (shown.role === 'tool' ? 'Tool' : shown.role)
  const element = make('article', { class: `message ${shown.role}`, 'data-seq': shown.seq, 'aria-label': `${speaker}, ${exactly(shown.created_at)}` })
  if (shown.role === 'tool') {
    element.append(resultOf({ name: shown.tool, content: shown.content, failed: shown.failed }))
    return element
  }
  const body = shown.html === null
    ? (shown.content ? make('div', { class: 'plain' }, shown.content) : null)
    : make('div', { class: 'rich' }, markup(shown.html))
  const only = !body && shown.tool_calls.length > 0 // a step on the way: no more than its calls
  if (!only) {
    element.append(make('header', {}, make('span', { class: 'speaker' }, speaker),
      make('time', { datetime: shown.created_at, title: exactly(shown.created_at) }, when(shown.created_at))))
  }
  if (shown.reasoning) element.append(folded('Thinking', 'reasoning', make('div', { class: 'plain' }, shown.reasoning)))
  if (body) element.append(body)
  element.append(...shown.tool_calls.map(callOf))
  if (shown.contexts.length) element.append(sourcesOf(shown.contexts))
  if (shown.partial) element.append(make('p', { class: 'note' }, 'Broken off here.'))
  const cost = only ? null : figures(shown)
  if (cost) element.append(cost)
  return element
}
