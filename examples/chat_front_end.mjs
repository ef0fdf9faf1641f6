// A chat in twenty lines: `useChat` of the AI SDK speaks to the route as it is. Needs react, @ai-sdk/react and ai.
import { createElement as h, useState } from 'react'
import { useChat } from '@ai-sdk/react'
import { DefaultChatTransport } from 'ai'

const Part = part => part.type === 'text' ? part.text : part.type.startsWith('tool-') ? `[${part.type.slice(5)}] ` : ''

export function Chat({ id, api = '/api/chat', initial = [] }) { // initial: the messages of GET /api/chat/{id}
  const [text, setText] = useState('')
  const [transport] = useState(() => new DefaultChatTransport({ api }))
  const { messages, sendMessage, stop, status } = useChat({ id, messages: initial, transport, resume: initial.length > 0 })
  const send = event => { event.preventDefault(); sendMessage({ text }); setText('') }
  return h('form', { onSubmit: send },
    messages.map(message => h('p', { key: message.id, className: message.role }, message.parts.map(Part).join(''))),
    h('input', { value: text, onChange: event => setText(event.target.value), 'aria-label': 'Message' }),
    h('button', { disabled: status !== 'ready' }, 'Send'),
    status === 'streaming' && h('button', { type: 'button', onClick: () => { stop(); fetch(`${api}/${id}/stop`, { method: 'POST' }) } }, 'Stop'))
}
