import type { PoolIdentity, PoolInstance } from '../api/channels.ts'
import type { ServerInfo } from '../api/factory.ts'

/** What channel messages say about a pool. The object is created again only when the server changes. */
export class Identity {
  readonly #instance: PoolInstance
  #server: ServerInfo | undefined
  #known: PoolIdentity | undefined

  constructor(instance: PoolInstance) {
    this.#instance = instance
  }

  at(server: ServerInfo | undefined): PoolIdentity {
    if (this.#known === undefined || server !== this.#server) {
      this.#server = server
      this.#known = identityOf(this.#instance, server)
    }
    return this.#known
  }
}

function identityOf(
  instance: PoolInstance,
  { system, address, port, database }: ServerInfo = {},
): PoolIdentity {
  return {
    ...{ pool: instance.name, instance },
    ...(system === undefined ? {} : { system }),
    ...(address === undefined ? {} : { serverAddress: address }),
    ...(port === undefined ? {} : { serverPort: port }),
    ...(database === undefined ? {} : { database }),
  }
}
