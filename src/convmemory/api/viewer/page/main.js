// The page: which conversation is open stands behind the # of the address, which no server is sent.

import { hasChat } from './api.js'
import { catchUp, focus, ready } from './composer.js'
import { begin, current, leave, open, showAt } from './conversation.js'
import { byId, complain } from './dom.js'
import './hits.js'
import { refresh } from './list.js'

const app = byId('app')

async function go() {
  const [name = '', seq] = location.hash.slice(2).split('/')
  const id = decodeURIComponent(name)
  app.classList.toggle('reading', id !== '')
  if (id === 'new' && hasChat) { begin(); ready(true); focus(); return }
  if (!id) { leave('Choose a conversation.'); ready(false); return }
  if (id === current().id) { if (seq) showAt(Number(seq)).catch(complain); return }
  ready(false)
  if (await open(id, Number(seq) || 0)) { ready(true); catchUp() }
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
