// The chat box: says something, shows the answer while it comes, and comes back to one that goes on.

import { events, hasChat, newKey, resume, say, stop } from './api.js'
import { about, append, current, isAtBottom, named, settle, signal, toBottom, toNewest } from './conversation.js'
import { announce, byId, complain, make } from './dom.js'
import { refresh } from './list.js'
import { callOf, folded, resultOf } from './message.js'

const form = byId('composer'), words = byId('words'), sendButton = byId('send'), stopButton = byId('stop')
const RETITLED = 5000
let session = null, busy = null

export function ready(shown) { form.hidden = !hasChat || !shown; busy = null; buttons() }
export function focus() { if (!form.hidden) words.focus() }

function buttons() { sendButton.hidden = busy !== null; stopButton.hidden = busy === null }

function grow() {
  words.rows = Math.min(8, Math.max(1, words.value.split('\n').length))
}

class Answer {
  constructor() {
    this.text = make('div', { class: 'plain' })
    this.element = make('article', { class: 'message ai coming', 'aria-label': 'Assistant', 'aria-busy': 'true' },
      make('header', {}, make('span', { class: 'speaker' }, 'Assistant')), this.text)
  }

  hear({ kind, data }) {
    const follow = isAtBottom()
    if (kind === 'text') this.text.append(data.text)
    else if (kind === 'reasoning') {
      if (!this.thoughts) {
        this.thoughts = make('div', { class: 'plain' })
        this.text.before(folded('Thinking', 'reasoning', this.thoughts))
      }
      this.thoughts.append(data.text)
    } else if (kind === 'tool_call') this.step(callOf(data))
    else if (kind === 'tool_result') this.step(resultOf(data))
    if (follow) toBottom()
  }

  step(element) { // what comes behind it is a message of its own
    this.text.after(element)
    const next = make('div', { class: 'plain' })
    element.after(next)
    this.text = next
  }
}

async function follow(answer, view, provisional) {
  const coming = new Answer()
  append(coming.element)
  provisional.push(coming.element)
  toBottom()
  const since = view.last, begins = !view.id
  let over = null
  for await (const event of events(answer)) {
    if (view !== current()) return
    if (event.kind === 'begin') {
      session = event.data.session_id
      if (!view.id) {
        await named(event.data.conversation_id)
        history.replaceState(null, '', `#/${event.data.conversation_id}`)
        refresh()
      }
    } else if (event.kind === 'end' || event.kind === 'error') over = event
    else coming.hear(event)
  }
  if (view !== current()) return
  coming.element.removeAttribute('aria-busy')
  await settle(since, provisional)
  if (over?.kind === 'error') complain(new Error('The answer broke off. Send the message again.'))
  announce(over?.kind === 'error' ? 'The answer broke off.' : 'Answered.')
  await about()
  refresh()
  if (begins) setTimeout(() => { if (view === current()) about().catch(() => {}) }, RETITLED) // a model may have made it a title
}

async function during(work) {
  const mine = busy = {}
  buttons()
  try { await work() } catch (error) { if (error.name !== 'AbortError') complain(error) } finally {
    if (busy === mine) { busy = null; buttons() }
  }
}

async function send(text) {
  if (!current().atEnd) await toNewest()
  const view = current()
  const question = append(make('article', { class: 'message human coming', 'aria-label': 'You' },
    make('header', {}, make('span', { class: 'speaker' }, 'You')), make('div', { class: 'plain' }, text)))
  toBottom()
  announce('Answering …')
  const body = { message: text }
  if (view.id) body.conversation_id = view.id
  if (session && view.id) body.session_id = session
  try {
    await follow(await say(body, newKey(), signal()), view, [question])
  } catch (error) {
    if (view === current() && error.name !== 'AbortError') {
      question.remove()
      if (!words.value) { words.value = text; grow() }
    }
    throw error
  }
}

export function catchUp() {
  if (!hasChat) return
  const view = current()
  during(async () => {
    const answer = await resume(view.id, signal())
    if (answer && view === current()) await follow(answer, view, [])
  })
}

form.addEventListener('submit', event => {
  event.preventDefault()
  const text = words.value.trim()
  if (!text || busy) return
  words.value = ''
  grow()
  words.focus()
  during(() => send(text))
})
words.addEventListener('input', grow)
words.addEventListener('keydown', event => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit() }
})
stopButton.addEventListener('click', () => {
  const { id } = current()
  if (id) stop(id).catch(complain)
  words.focus()
})
