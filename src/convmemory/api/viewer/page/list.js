// The list of conversations: pages as they are scrolled to, and a field that filters by title.

import { listConversations } from './api.js'
import { byId, complain, make } from './dom.js'
import { count, exactly, when } from './times.js'

const ENOUGH = 20
const list = byId('list'), box = byId('list-box'), note = byId('list-note'), filter = byId('filter')
let found = [], cursor = null, ended = false, loading = false, opened = null, asked = 0

const matches = one => nameOf(one).toLowerCase().includes(filter.value.trim().toLowerCase())
export const nameOf = one => one.title || 'Untitled'

function entry(one) {
  return make('li', {}, make('a', { href: `#/${one.uuid}`, 'aria-current': one.uuid === opened ? 'page' : null },
    make('span', { class: 'title' }, nameOf(one)),
    make('span', { class: 'note' }, `${count(one.message_count, 'message')} · `, make('time', { datetime: one.updated_at, title: exactly(one.updated_at) }, when(one.updated_at)))))
}

function show() {
  const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null
  const shown = found.filter(matches)
  list.replaceChildren(...shown.map(entry))
  if (focused) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus()
  note.textContent = shown.length || !ended ? '' : filter.value ? 'No title has that.' : 'No conversations yet.'
}

async function more() {
  if (loading || ended) return
  loading = true
  const turn = asked
  try {
    const page = await listConversations(cursor)
    if (turn !== asked) return
    const known = new Set(found.map(one => one.uuid))
    found.push(...page.items.filter(one => !known.has(one.uuid)))
    cursor = page.next_cursor
    ended = cursor === null
    show()
  } catch (error) { complain(error); ended = true } finally { loading = false }
  fill()
}

function fill() {
  const near = box.scrollHeight - box.scrollTop - box.clientHeight < 400
  if (!ended && (near || (filter.value && found.filter(matches).length < ENOUGH))) more()
}

// A conversation's address: by its name only where it is not known by more.
export const addressOf = id => encodeURIComponent(found.find(one => one.id === id)?.uuid ?? id)

export async function refresh() {
  asked += 1
  loading = false
  cursor = null
  ended = false
  const shown = found
  found = []
  await more()
  if (!found.length && !ended) { found = shown; show() }
}

export function mark(id) {
  opened = id
  for (const link of list.querySelectorAll('a')) {
    if (link.getAttribute('href') === `#/${id}`) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
}

export function changed(one) { found = found.map(known => known.uuid === one.uuid ? one : known); show() }

export function removed(id) {
  const at = found.findIndex(one => one.uuid === id)
  found = found.filter(one => one.uuid !== id)
  show()
  const next = list.querySelectorAll('a')[Math.max(0, Math.min(at, found.length - 1))]
  ;(next ?? filter).focus()
}

filter.addEventListener('input', () => { show(); fill() })
box.addEventListener('scroll', fill, { passive: true })
box.addEventListener('keydown', event => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  if (!step) return
  const links = [...box.querySelectorAll('a')]
  links[links.indexOf(document.activeElement) + step]?.focus()
  event.preventDefault()
})
