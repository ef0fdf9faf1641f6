// The page: which conversation is open stands behind the # of the address, which no server is sent.

import { hasChat } from './api.js'
import { catchUp, focus, ready } from './composer.js'
import { begin, current, leave, open } from './conversation.js'
import { byId } from './dom.js'
import { refresh } from './list.js'

const app = byId('app')

async function go() {
  const id = decodeURIComponent(location.hash.slice(2))
  app.classList.toggle('reading', id !== '')
  if (id === 'new' && hasChat) { begin(); ready(true); focus(); return }
  if (!id) { leave('Choose a conversation.'); ready(false); return }
  if (id === current().id) return
  ready(false)
  if (await open(id)) { ready(true); catchUp() }
}

byId('new').hidden = !hasChat
byId('new').addEventListener('click', () => { if (location.hash === '#/new') focus(); else location.hash = '#/new' })
byId('skip').addEventListener('click', event => { event.preventDefault(); byId('conversation').focus() })
addEventListener('hashchange', go)
addEventListener('keydown', event => {
  if (event.key === '/' && !/^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName)) { event.preventDefault(); byId('filter').focus() }
})

refresh()
go()
