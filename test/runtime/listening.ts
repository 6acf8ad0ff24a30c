import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { afterEach } from 'node:test'

export type Message = Record<string, unknown>

const enders: (() => void)[] = []

afterEach(() => {
  for (const end of enders.splice(0)) end()
})

const PARTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const

/** Subscribes to all parts of a tracing channel until the test is over. @returns what was published, in order */
export function traced(
  name: string,
  on: (part: (typeof PARTS)[number], message: Message) => void = () => {},
): [string, Message][] {
  const told: [string, Message][] = []
  const channel = tracingChannel<unknown, Message>(`lifeguard-pool:${name}`)
  const handlers = Object.fromEntries(
    PARTS.map(part => [
      part,
      (message: unknown) => {
        told.push([part, message as Message])
        on(part, message as Message)
      },
    ]),
  ) as unknown as Parameters<typeof channel.subscribe>[0]
  channel.subscribe(handlers)
  enders.push(() => channel.unsubscribe(handlers))
  return told
}

/** Subscribes to a plain channel until the test is over. */
export function heard(name: string): Message[] {
  const told: Message[] = []
  const listen = (message: unknown): void => void told.push(message as Message)
  subscribe(`lifeguard-pool:${name}`, listen)
  enders.push(() => unsubscribe(`lifeguard-pool:${name}`, listen))
  return told
}

export const partsOf = (told: readonly [string, Message][]): string[] => told.map(([part]) => part)
