// The one place where text becomes markup. It was made harmless on the server; what it may hold is looked at once more.

const ELEMENTS = new Set(('A BLOCKQUOTE BR CODE DEL DIV EM H3 H4 H5 H6 HR LI OL P PRE S SPAN STRONG TABLE TBODY TD TH THEAD TR UL').split(' '))
const ATTRIBUTES = new Set(['class', 'href', 'rel', 'start', 'tabindex', 'target', 'title'])
const LINK = /^(?:https?:\/\/|mailto:)/i

const policy = globalThis.trustedTypes
  ? globalThis.trustedTypes.createPolicy('convmemory', { createHTML: text => text })
  : { createHTML: text => text }

export function markup(html) {
  const template = document.createElement('template') // whatever is in it is not alive
  template.innerHTML = policy.createHTML(html)
  for (const element of [...template.content.querySelectorAll('*')]) {
    if (!ELEMENTS.has(element.tagName)) { element.replaceWith(element.textContent); continue }
    for (const { name, value } of [...element.attributes]) {
      if (!ATTRIBUTES.has(name) || (name === 'href' && !LINK.test(value))) element.removeAttribute(name)
    }
  }
  return template.content
}
