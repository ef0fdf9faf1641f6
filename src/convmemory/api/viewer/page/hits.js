// What was said, found by its words: below the titles that match, where the server said that it searches.

import { hasSearch, search } from './api.js'
import { announce, byId, complain, make } from './dom.js'
import { count, exactly, when } from './times.js'

const SPEAKERS = { human: 'You', ai: 'Assistant', tool: 'Tool', system: 'System' }
const box = byId('hits-box'), list = byId('hits'), field = byId('filter'), more = byId('more-hits')
let searches = hasSearch, waiting, asking = new AbortController(), cursor = null

function marked({ snippet, highlights }) { // places are counted in characters, of which some are two of JavaScript's
  const letters = [...snippet], parts = []
  let place = 0
  for (const [from, to] of highlights) {
    parts.push(letters.slice(place, from).join(''), make('mark', {}, letters.slice(from, to).join('')))
    place = to
  }
  return [...parts, letters.slice(place).join('')]
}

const entry = hit => make('li', {}, make('a', { href: `#/${hit.uuid}${hit.seq ? `/${hit.seq}` : ''}` },
  make('span', { class: 'note' }, `${SPEAKERS[hit.role] ?? 'Title'} · `, make('time', { datetime: hit.created_at, title: exactly(hit.created_at) }, when(hit.created_at)), hit.title ? ` · ${hit.title}` : ''),
  make('span', { class: 'snippet' }, ...marked(hit))))

async function look(further) {
  const { signal } = asking
  try {
    const page = await search(field.value.trim(), further ? cursor : null, signal)
    if (signal.aborted) return
    const found = page.items.filter(hit => hit.seq !== null) // titles are in the list above
    if (further) list.append(...found.map(entry))
    else list.replaceChildren(...found.map(entry))
    cursor = page.next_cursor
    more.hidden = !cursor
    box.hidden = !list.childElementCount
    if (!further) announce(`${count(found.length, 'message')} found.`)
  } catch (error) {
    if (error.name === 'AbortError') return
    if ([404, 501].includes(error.status)) searches = false
    else complain(error)
  }
}

field.addEventListener('input', () => {
  clearTimeout(waiting)
  asking.abort()
  asking = new AbortController()
  if (!field.value.trim()) { box.hidden = true; list.replaceChildren() } else if (searches) waiting = setTimeout(look, 250)
})
more.addEventListener('click', () => look(true))
