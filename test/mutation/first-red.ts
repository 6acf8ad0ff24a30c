/* A reporter of Node's test runner that says nothing but the first test that has failed. */

import type { TestEvent } from 'node:test/reporters'

export default async function* firstRed(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events)
    if (event.type === 'test:fail' && !event.data.todo)
      yield `red: ${event.data.name.replaceAll('\n', ' ')}\n`
}
