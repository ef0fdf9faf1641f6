// One conversation: a window of its messages, however many there are, and what may be done with it.

import { deleteConversation, getConversation, getMessages, updateConversation } from './api.js'
import { announce, byId, complain, make } from './dom.js'
import { changed, mark, moved, nameOf, removed } from './list.js'
import { messageOf } from './message.js'
import { count, exactly } from './times.js'

const PAGE = 50, MOST = 200, NEAR = 600
const box = byId('messages'), rows = byId('rows'), empty = byId('empty')
const earlier = byId('earlier'), later = byId('later'), newest = byId('newest')
const FRESH = { id: null, first: 0, last: 0, atStart: true, atEnd: true }
let view = { ...FRESH }, loading = null, leaving = new AbortController()

export const current = () => view
export const signal = () => leaving.signal
export const isAtBottom = () => box.scrollHeight - box.scrollTop - box.clientHeight < 80
export const toBottom = () => { box.scrollTop = box.scrollHeight }

function ends() {
  earlier.hidden = view.atStart
  later.hidden = view.atEnd
  newest.hidden = view.atEnd && isAtBottom()
}

function stored() { return rows.querySelectorAll('[data-seq]') }

function put(items, where) {
  const elements = items.map(messageOf)
  const height = box.scrollHeight, place = box.scrollTop
  if (where === 'before') {
    rows.prepend(...elements)
    box.scrollTop = place + box.scrollHeight - height
    const known = stored()
    for (const element of [...known].slice(MOST)) { element.remove(); view.atEnd = false }
  } else {
    rows.append(...elements)
    const known = stored(), tall = box.scrollHeight, at = box.scrollTop
    const many = Math.max(0, known.length - MOST)
    for (const element of [...known].slice(0, many)) { element.remove(); view.atStart = false }
    if (many) box.scrollTop = at - (tall - box.scrollHeight)
  }
  const left = stored()
  view.first = left.length ? Number(left[0].dataset.seq) : 0
  view.last = left.length ? Number(left[left.length - 1].dataset.seq) : 0
  empty.hidden = rows.childElementCount > 0
}

async function load(where) {
  if (loading || !view.id || (where === 'before' ? view.atStart : view.atEnd)) return
  const of = view
  loading = where
  try {
    const place = where === 'before' ? { before: of.first } : { after: of.last }
    const { items } = await getMessages(of.id, { limit: PAGE, ...place }, leaving.signal)
    if (of !== view) return
    if (items.length < PAGE) view[where === 'before' ? 'atStart' : 'atEnd'] = true
    put(items, where)
    ends()
  } catch (error) { if (error.name !== 'AbortError') complain(error) } finally { loading = null }
  near()
}

function near() {
  if (loading || !view.id) return
  if (box.scrollTop < NEAR && !view.atStart) load('before')
  else if (box.scrollHeight - box.scrollTop - box.clientHeight < NEAR && !view.atEnd) load('after')
}

function doable(may) { for (const name of ['pin', 'archive', 'rename', 'delete']) byId(name).hidden = !may }

function worded(name, words) {
  byId(name).setAttribute('aria-label', words)
  byId(name).querySelector('span').textContent = words
}

function heading(found) {
  byId('heading').textContent = found ? nameOf(found) : 'New conversation'
  byId('about').textContent = found ? `${count(found.message_count, 'message')}, begun ${exactly(found.created_at)}${found.archived ? ', archived' : ''}` : ''
  document.title = found ? nameOf(found) : 'Conversations'
  doable(Boolean(found))
  worded('pin', found?.pinned ? 'Unpin' : 'Pin')
  worded('archive', found?.archived ? 'Unarchive' : 'Archive')
  byId('head').hidden = false
  view.found = found
}

export function leave(words) {
  leaving.abort()
  leaving = new AbortController()
  loading = null
  view = { ...FRESH }
  rows.replaceChildren()
  byId('head').hidden = true
  empty.hidden = false
  empty.textContent = words
  mark(null)
  ends()
}

export function begin() {
  leave('Say something to begin.')
  heading(null)
}

// A new conversation that the server has given its name.
export async function named(id) {
  view.id = id
  mark(id)
}

export async function about() {
  const of = view
  const found = await getConversation(of.id, leaving.signal)
  if (of !== view) return
  heading(found)
  changed(found)
  if (!view.atStart || !view.atEnd || stored().length === found.message_count) return
  const { items } = await getMessages(of.id, { limit: PAGE }, leaving.signal) // some went in another tab, or came
  if (of === view) { await refilled(items); announce('The conversation was changed elsewhere: this is how it is now.') }
}

export async function open(id, seq = 0) {
  leave('Loading …')
  view.id = id
  const of = view
  mark(id)
  try {
    const [found, { items }] = await Promise.all([
      getConversation(id, leaving.signal), getMessages(id, seq ? around(seq) : { limit: PAGE }, leaving.signal)])
    if (of !== view) return false
    heading(found)
    mark(found.uuid)
    if (seq) refilledAt(items, seq)
    else await refilled(items)
    announce(`${nameOf(found)}, ${count(found.message_count, 'message')}`)
    return true
  } catch (error) {
    if (error.name === 'AbortError' || of !== view) return false
    empty.textContent = error.status === 404 ? 'There is no such conversation.' : error.message
    byId('head').hidden = false // the way back, where the list is elsewhere
    byId('heading').textContent = 'Not found'
    byId('about').textContent = ''
    doable(false)
    return false
  }
}

async function refilled(items) {
  rows.replaceChildren()
  view.atStart = items.length < PAGE
  view.atEnd = true
  empty.textContent = 'No messages.'
  put(items, 'after')
  toBottom()
  ends()
  requestAnimationFrame(() => { toBottom(); ends() })
}

const around = seq => ({ limit: PAGE, after: Math.max(0, seq - PAGE / 2) })

function refilledAt(items, seq) {
  rows.replaceChildren()
  view.atStart = seq <= PAGE / 2
  view.atEnd = items.length < PAGE
  empty.textContent = 'No messages.'
  put(items, 'after')
  point(seq)
  ends()
}

function point(seq) {
  const element = rows.querySelector(`[data-seq="${seq}"]`)
  element?.scrollIntoView({ block: 'center' })
  element?.classList.add('found')
  setTimeout(() => element?.classList.remove('found'), 3000)
}

// Another place of the conversation that is open.
export async function showAt(seq) {
  const of = view
  if (!rows.querySelector(`[data-seq="${seq}"]`)) {
    const { items } = await getMessages(of.id, around(seq), leaving.signal)
    if (of !== view) return
    refilledAt(items, seq)
  } else point(seq)
}

export async function toNewest() {
  if (view.atEnd) { toBottom(); return }
  const of = view
  const { items } = await getMessages(of.id, { limit: PAGE }, leaving.signal)
  if (of === view) await refilled(items)
}

// What has been stored since, in the place of what was only shown.
export async function settle(after, provisional) {
  const of = view
  const { items } = await getMessages(of.id, { limit: 200, after }, leaving.signal)
  if (of !== view) return
  const follow = isAtBottom()
  provisional.forEach(element => element.remove())
  put(items.filter(one => one.seq > view.last), 'after')
  if (follow) toBottom()
  ends()
}

export function append(element) {
  rows.append(element)
  empty.hidden = true
  return element
}

function asking(dialog) {
  return new Promise(resolve => {
    dialog.returnValue = 'no'
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true })
    dialog.showModal()
  })
}
for (const dialog of document.querySelectorAll('dialog')) {
  dialog.querySelector('button[value=no]').addEventListener('click', () => dialog.close('no'))
}

byId('rename').addEventListener('click', async () => {
  const { id, found } = view, field = byId('new-title')
  field.value = found.title ?? ''
  const asked = asking(byId('rename-dialog'))
  field.select()
  if (!await asked || !field.value.trim()) return
  try {
    const renamed = await updateConversation(id, { title: field.value.trim() })
    if (view.id === id) heading(renamed)
    changed(renamed)
    announce('Renamed.')
  } catch (error) { complain(error) }
})

async function marked(changes, tell, words) {
  const { id } = view
  try {
    const found = await updateConversation(id, changes)
    if (view.id === id) heading(found)
    tell(found)
    announce(words)
  } catch (error) { complain(error) }
}

byId('pin').addEventListener('click', () => {
  const pinned = !view.found.pinned
  marked({ pinned }, changed, pinned ? 'Pinned.' : 'No longer pinned.')
})
byId('archive').addEventListener('click', () => {
  const archived = !view.found.archived
  marked({ archived }, moved, archived ? 'Archived.' : 'No longer archived.')
})

byId('delete').addEventListener('click', async () => {
  const { id, found } = view
  byId('delete-what').replaceChildren(make('strong', {}, nameOf(found)), ` and its ${count(found.message_count, 'message')} will be gone for good.`)
  const asked = asking(byId('delete-dialog'))
  byId('delete-dialog').querySelector('button[value=no]').focus()
  if (!await asked) return
  try {
    await deleteConversation(id)
    if (view.id === id) location.hash = ''
    removed(id)
    announce('Deleted.')
  } catch (error) { complain(error) }
})

box.addEventListener('scroll', () => { ends(); near() }, { passive: true })
earlier.addEventListener('click', () => load('before'))
later.addEventListener('click', () => load('after'))
newest.addEventListener('click', () => { toNewest().catch(complain); box.focus() })
