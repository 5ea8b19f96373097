// What lies between a phone and the server: an HTTP proxy that fails as it is told.
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { eventually } from './stack.ts'

/**
 * What happens to one request.
 *
 * lost: the server gets and answers it, the answer does not arrive. cut: the same, and from then
 * on there is no network. dropped: it does not reach the server. hang: nor does it end. bad
 * gateway, too many, login page: somebody else answers.
 */
export type Fault = 'lost' | 'cut' | 'dropped' | 'hang' | 'bad gateway' | 'too many' | 'login page'
type Method = 'GET' | 'POST'

export class Wire {
  readonly #target: string
  readonly #faults: Record<Method, Fault[]> = { GET: [], POST: [] }
  readonly #errands: Record<Method, (() => Promise<void>)[]> = { GET: [], POST: [] }
  readonly #arrived: Method[] = []
  readonly #answered: Method[] = []
  #port = 0
  #server: Server | undefined

  constructor(target: string) {
    this.#target = target
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Requests that came here, whatever became of them. */
  get count(): number {
    return this.#arrived.length
  }

  /** Serves, on the same port each time, and counts from nothing. */
  async up(): Promise<this> {
    this.#arrived.length = this.#answered.length = 0
    this.#server = createServer((incoming, outgoing) => {
      this.#serve(incoming, outgoing).catch(() => outgoing.destroy()) // it went down meanwhile
    })
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
    return this
  }

  /** Refuses connections from now on, and breaks those that are open. */
  async down(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (!server) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }

  /** The next requests with this method fail so, one after the other. */
  fail(method: Method, ...faults: Fault[]): void {
    this.#faults[method].push(...faults)
  }

  /** The next answers to this method are kept until these are done, one each. */
  keep(method: Method, ...errands: (() => Promise<void>)[]): void {
    this.#errands[method].push(...errands)
  }

  /** Waits until there is no network. */
  async isDown(): Promise<void> {
    await eventually(async () => !this.#server || undefined)
  }

  /** Waits until so many requests with this method have come here. */
  async arrived(method: Method, count = 1): Promise<void> {
    await eventually(async () => seen(this.#arrived, method, count))
  }

  /** Waits until so many requests with this method have got the server's answer. */
  async answered(method: Method, count = 1): Promise<void> {
    await eventually(async () => seen(this.#answered, method, count))
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const method = incoming.method as Method
    this.#arrived.push(method)
    const fault = this.#faults[method].shift()
    const body = await text(incoming)
    if (fault === 'hang') return
    if (fault === 'dropped') return void outgoing.destroy()
    if (fault === 'bad gateway') return page(outgoing, 502, 'Bad Gateway')
    if (fault === 'too many') return page(outgoing, 429, 'Too Many Requests')
    if (fault === 'login page') return page(outgoing, 200, 'Welcome to our hotel')
    const answer = await this.#pass(incoming, body)
    const content = await text(answer)
    await this.#errands[method].shift()?.()
    if (fault === 'cut') return this.down()
    if (fault === 'lost') return void outgoing.destroy()
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers).end(content)
    this.#answered.push(method)
  }

  async #pass({ url, method, headers }: IncomingMessage, body: string): Promise<IncomingMessage> {
    const onward = request(this.#target + url, { method, headers, agent: false }).end(body)
    const [answer] = await once(onward, 'response')
    return answer
  }
}

/** Errands for so many answers that keep them until all are there. */
export function together(count: number): (() => Promise<void>)[] {
  let there = 0
  const errand = async () => {
    there++
    await eventually(async () => there === count || undefined)
  }
  return Array(count).fill(errand)
}

function seen(methods: Method[], method: Method, count: number): true | undefined {
  return methods.filter((each) => each === method).length >= count || undefined
}

function page(outgoing: ServerResponse, status: number, words: string): void {
  outgoing.writeHead(status, { 'content-type': 'text/html' }).end(`<h1>${words}</h1>`)
}
