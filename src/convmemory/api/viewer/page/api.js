// What the page asks its server, and streams of events.

const { base, api, chat, login, search: finds } = document.documentElement.dataset
export const hasChat = Boolean(chat)
export const hasSearch = finds !== ''

export class Problem extends Error {
  constructor(status, detail) { super(detail); this.status = status }
}

async function ask(method, address, { body, headers = {}, signal } = {}) {
  let answer
  try {
    answer = await fetch(address, {
      method, signal, credentials: 'same-origin',
      headers: body === undefined ? headers : { 'Content-Type': 'application/json', ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
  } catch (error) {
    if (error.name === 'AbortError') throw error
    throw new Problem(0, 'The server does not answer. Is it still running?')
  }
  if (answer.ok) return answer
  if (answer.status === 401 && login) { location.assign(login); throw new Problem(401, 'Log in first.') }
  let detail = ''
  try { detail = (await answer.json()).detail } catch { /* not one of ours */ }
  throw new Problem(answer.status, typeof detail === 'string' && detail ? detail : `The server answered ${answer.status}.`)
}

const json = async answer => (await answer).json()
const named = id => encodeURIComponent(id)
const query = values => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined))

export const listConversations = (where, signal) => json(ask('GET', `${api}/conversations?${query({ limit: 50, ...where })}`, { signal }))
export const search = (q, cursor, signal) => json(ask('GET', `${api}/search?${query({ q, cursor, limit: 20 })}`, { signal }))
export const getConversation = (id, signal) => json(ask('GET', `${api}/conversations/${named(id)}?messages=0`, { signal }))
export const getMessages = (id, where, signal) =>
  json(ask('GET', `${base}/conversations/${named(id)}/shown?${query(where)}`, { signal }))
export const updateConversation = (id, changes) => json(ask('PATCH', `${api}/conversations/${named(id)}`, { body: changes }))
export const deleteConversation = id => ask('DELETE', `${api}/conversations/${named(id)}`)

const STREAM = { Accept: 'text/event-stream' }
export const say = (body, key, signal) =>
  ask('POST', chat, { body, headers: { ...STREAM, 'Idempotency-Key': key }, signal })
export async function resume(id, signal) {
  const answer = await ask('GET', `${chat}/${named(id)}/stream`, { headers: STREAM, signal })
  return answer.status === 204 ? null : answer
}
export const stop = id => ask('POST', `${chat}/${named(id)}/stop`)

export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const blocks = (rest + value).split('\n\n')
      rest = blocks.pop()
      for (const block of blocks) {
        const lines = block.split('\n')
        const of = name => lines.filter(line => line.startsWith(`${name}: `)).map(line => line.slice(name.length + 2)).join('\n')
        const data = of('data')
        if (data) yield { kind: of('event'), data: JSON.parse(data) }
      }
    }
  } finally { reader.cancel().catch(() => {}) }
}

export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('')
}
