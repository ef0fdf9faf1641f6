// Light or dark, before anything is drawn: as the system has it, or as the reader chose here.
(() => {
  const root = document.documentElement
  const chosen = () => { try { return localStorage.getItem('convmemory-theme') } catch { return null } }
  const show = theme => { if (theme) root.dataset.theme = theme; else delete root.dataset.theme }
  show(chosen())
  addEventListener('DOMContentLoaded', () => {
    document.getElementById('theme')?.addEventListener('click', () => {
      const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches
      const theme = dark ? 'light' : 'dark'
      show(theme)
      try { localStorage.setItem('convmemory-theme', theme) } catch { /* it lasts as long as the page */ }
    })
  })
})()
