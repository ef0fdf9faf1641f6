// The front end of the examples in a document of its own: `node use_chat.mjs http://127.0.0.1:8000 COOKIE CHAT WORDS...`.
// Says each of the words, and prints what the page shows after each, and when it is loaded anew.
import { JSDOM } from 'jsdom'

const [, , address, cookie, id, ...words] = process.argv
const { window } = new JSDOM('<div id="root"></div>', { url: address, pretendToBeVisual: true })
Object.assign(globalThis, { window, document: window.document, HTMLElement: window.HTMLElement, IS_REACT_ACT_ENVIRONMENT: false })
if (!globalThis.navigator) globalThis.navigator = window.navigator // Node has one of its own from 21 on
const plain = globalThis.fetch // a browser's sends the cookie by itself
globalThis.fetch = (path, init = {}) => plain(new URL(path, address), { ...init, headers: { ...Object.fromEntries(new Headers(init.headers)), cookie } })

const { createElement } = await import('react')
const { createRoot } = await import('react-dom/client')
const { Chat } = await import('./chat_front_end.mjs')
const place = document.getElementById('root')
const shown = () => [...place.querySelectorAll('p')].map(one => [one.className, one.textContent])
const until = async what => {
  for (let tries = 0; !what(); tries += 1) {
    if (tries > 1000) throw new Error(`the page shows ${JSON.stringify(shown())}`)
    await new Promise(done => setTimeout(done, 20))
  }
}
const ready = () => place.querySelector('button')?.disabled === false

let root = createRoot(place)
root.render(createElement(Chat, { id }))
await until(ready)
for (const text of words) {
  const field = place.querySelector('input')
  Object.getOwnPropertyDescriptor(window.HTMLInputElement.prototype, 'value').set.call(field, text)
  field.dispatchEvent(new window.Event('input', { bubbles: true }))
  const before = shown().length
  place.querySelector('form').dispatchEvent(new window.Event('submit', { bubbles: true, cancelable: true }))
  await until(() => shown().length > before + 1 && ready())
  console.log(JSON.stringify(shown()))
}
root.unmount()
const { messages } = await (await fetch(`/api/chat/${id}`)).json()
root = createRoot(place)
root.render(createElement(Chat, { id, initial: messages }))
await until(() => shown().length === messages.length && ready())
console.log(JSON.stringify(shown()))
process.exit(0)
