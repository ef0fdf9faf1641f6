// The list of conversations: those pinned first, then pages as they are scrolled to; or those put away. A field filters by title.

import { listConversations } from './api.js'
import { byId, complain, make } from './dom.js'
import { count, exactly, when } from './times.js'

const ENOUGH = 20
const list = byId('list'), box = byId('list-box'), note = byId('list-note'), filter = byId('filter'), view = byId('archive-view')
let found = [], cursor = null, ended = false, loading = false, opened = null, asked = 0, away = false

const matches = one => nameOf(one).toLowerCase().includes(filter.value.trim().toLowerCase())
export const nameOf = one => one.title || 'Untitled'

function entry(one) {
  const pin = one.pinned ? [byId('pin-mark').content.cloneNode(true), make('span', { class: 'unseen' }, 'Pinned: ')] : []
  return make('li', {}, make('a', { href: `#/${one.uuid}`, 'aria-current': one.uuid === opened ? 'page' : null },
    make('span', { class: 'title' }, ...pin, nameOf(one)),
    make('span', { class: 'note' }, `${count(one.message_count, 'message')} · `, make('time', { datetime: one.updated_at, title: exactly(one.updated_at) }, when(one.updated_at)))))
}

function show() {
  const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null
  const shown = found.filter(matches)
  list.replaceChildren(...shown.map(entry))
  if (focused) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus()
  note.textContent = shown.length || !ended ? '' : filter.value ? 'No title has that.' : away ? 'Nothing is archived.' : 'No conversations yet.'
}

async function more() {
  if (loading || ended) return
  loading = true
  const turn = asked
  try {
    const where = away ? { archived: true } : { pinned: false }
    const [page, pins] = await Promise.all([
      listConversations({ ...where, cursor }), cursor === null && !away ? listConversations({ pinned: true, limit: 100 }) : null])
    if (turn !== asked) return
    for (const one of [...pins?.items ?? [], ...page.items]) if (!found.some(({ uuid }) => uuid === one.uuid)) found.push(one)
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

export function changed(one) {
  const before = found.find(({ uuid }) => uuid === one.uuid)
  found = found.map(known => known === before ? one : known)
  if (before && (before.pinned !== one.pinned || before.archived !== one.archived)) refresh()
  else show()
}

// What was put away, or taken back, is in the other list now.
export function moved(one) { found = found.filter(({ uuid }) => uuid !== one.uuid); show(); refresh() }

export function removed(id) {
  const at = found.findIndex(one => one.uuid === id)
  found = found.filter(one => one.uuid !== id)
  show()
  const next = list.querySelectorAll('a')[Math.max(0, Math.min(at, found.length - 1))]
  ;(next ?? filter).focus()
}

view.addEventListener('click', () => {
  away = !away
  view.setAttribute('aria-pressed', String(away))
  found = []
  list.replaceChildren()
  note.textContent = ''
  refresh()
})
filter.addEventListener('input', () => { show(); fill() })
box.addEventListener('scroll', fill, { passive: true })
box.addEventListener('keydown', event => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  if (!step) return
  const links = [...box.querySelectorAll('a')]
  links[links.indexOf(document.activeElement) + step]?.focus()
  event.preventDefault()
})
