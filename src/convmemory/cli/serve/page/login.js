// The token stands behind the # of the printed address, which no server and no log is sent; it is changed for a cookie.

const { base } = document.documentElement.dataset
const said = document.getElementById('said')

async function enter(token) {
  try {
    const answer = await fetch(`${base}/login`, {
      method: 'POST', credentials: 'same-origin', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token }),
    })
    if (answer.ok) location.replace(`${base}/`)
    else said.textContent = answer.status === 401 ? 'This is not the token. Each start prints another.' : `The server answered ${answer.status}.`
  } catch { said.textContent = 'The server does not answer. Is it still running?' }
}

const given = decodeURIComponent(location.hash.slice(1))
if (given) { history.replaceState(null, '', location.pathname); enter(given) }
document.getElementById('login').addEventListener('submit', event => {
  event.preventDefault()
  enter(document.getElementById('token').value)
})
