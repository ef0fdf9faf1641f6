// Elements made by calls: text stays text.

export const byId = id => document.getElementById(id)

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue
    element.setAttribute(name, value === true ? '' : String(value))
  }
  element.append(...children.filter(child => child !== null && child !== undefined && child !== ''))
  return element
}

export function announce(text) { byId('status').textContent = text }

let hiding
export function complain(error) {
  const box = byId('trouble')
  clearTimeout(hiding)
  box.textContent = error.message || String(error)
  box.hidden = false
  hiding = setTimeout(() => { box.hidden = true }, 8000)
}
