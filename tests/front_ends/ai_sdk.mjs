// A chat of the AI SDK, driven line by line: `node ai_sdk.mjs ai6 http://127.0.0.1:8000/chat ada`.
// Each line of the input is a command as JSON, each line of the output the chat after it.
import { createInterface } from 'node:readline'

const [, , version, api, user, id] = process.argv
const { AbstractChat, DefaultChatTransport } = await import(version)

class State {
  status = 'ready'
  error = undefined
  messages = []
  pushMessage = message => { this.messages = this.messages.concat(message) }
  popMessage = () => { this.messages = this.messages.slice(0, -1) }
  replaceMessage = (index, message) => {
    this.messages = [...this.messages.slice(0, index), this.snapshot(message), ...this.messages.slice(index + 1)]
  }
  snapshot = value => structuredClone(value)
}

class Chat extends AbstractChat {
  constructor(init) { super({ ...init, state: new State() }) }
}

let failed
const transport = new DefaultChatTransport({ api, headers: { 'x-user': user } })
const chat = new Chat({ id, transport, onError: error => { failed = String(error.message) } })
const commands = {
  send: ({ text, messageId }) => chat.sendMessage({ text, messageId }),
  regenerate: ({ messageId }) => chat.regenerate({ messageId }),
  resume: () => chat.resumeStream(),
  stop: () => chat.stop(),
  forge: ({ messages }) => { chat.messages = messages },
  load: async () => {
    const answer = await fetch(`${api}/${id}`, { headers: { 'x-user': user } })
    chat.messages = (await answer.json()).messages
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  failed = undefined
  const done = commands[command.do](command)
  if (command.wait !== false) await done
  console.log(JSON.stringify({ messages: chat.messages, status: chat.status, error: failed ?? null }))
}
process.exit(0)
