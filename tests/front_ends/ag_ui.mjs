// An agent of AG-UI's client, driven line by line: `node ag_ui.mjs http://127.0.0.1:8000/chat ada c`.
// Each line of the input is a command as JSON, each line of the output the agent's messages after it.
import { createInterface } from 'node:readline'
import { HttpAgent } from '@ag-ui/client'

const [, , url, user, threadId] = process.argv

class Agent extends HttpAgent {
  connect(input) { return this.run(input) }
}

const agent = new Agent({ url, threadId, headers: { 'x-user': user } })
let failed, result, kinds
const subscriber = {
  onRunErrorEvent: ({ event }) => { failed = event.message },
  onRunFailed: ({ error }) => { failed ??= String(error.message) },
  onRunFinishedEvent: ({ event }) => { result = event },
  onEvent: ({ event }) => { kinds.push(event.type) },
}
const commands = {
  say: ({ id, text, runId }) => {
    agent.addMessage({ id, role: 'user', content: text })
    return agent.runAgent({ runId }, subscriber)
  },
  run: ({ runId }) => agent.runAgent({ runId }, subscriber),
  connect: () => agent.connectAgent({}, subscriber),
  forge: ({ messages }) => { agent.setMessages(messages) },
  abort: () => agent.abortRun(),
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  failed = result = undefined
  kinds = []
  const done = Promise.resolve(commands[command.do](command)).catch(error => { failed ??= String(error.message) })
  if (command.wait !== false) await done
  console.log(JSON.stringify({ messages: agent.messages, error: failed ?? null, result: result ?? null, kinds }))
}
process.exit(0)
