// rascal without a broker: its vhosts pool channels of a connection that is a double, publish on them and drain them.
const assert = require('node:assert/strict')
const { EventEmitter } = require('node:events')
const amqplib = require('amqplib/callback_api')

let open = 0
let published = 0

/** Any method answers its callback, soon, with nothing to say. It is no promise. */
const answering = target =>
  new Proxy(target, {
    get(of, name) {
      if (name in of || typeof name === 'symbol' || name === 'then' || name.startsWith('_')) return of[name]
      return (...given) => {
        const callback = given.at(-1)
        if (typeof callback === 'function') setImmediate(callback, null, {})
        return true
      }
    },
  })

function channelOf(connection) {
  open += 1
  return answering(
    Object.assign(new EventEmitter(), {
      connection: connection.connection,
      publish(...given) {
        published += 1
        const callback = given.at(-1)
        if (typeof callback === 'function') setImmediate(callback, null)
        return true
      },
      close(callback) {
        open -= 1
        setImmediate(callback, null)
      },
    }),
  )
}

amqplib.connect = (_url, _options, done) => {
  const connection = answering(
    Object.assign(new EventEmitter(), {
      connection: Object.assign(new EventEmitter(), { serverProperties: {} }),
      createChannel: callback => setImmediate(() => callback(null, channelOf(connection))),
      createConfirmChannel: callback => setImmediate(() => callback(null, channelOf(connection))),
      close: callback => setImmediate(callback, null),
    }),
  )
  setImmediate(done, null, connection)
}

const rascal = require('rascal')

module.exports = async () => {
  const config = rascal.withDefaultConfig({
    vhosts: {
      '/': {
        connection: { url: 'amqp://nowhere' },
        publicationChannelPools: {
          regularPool: {
            max: 3,
            min: 1,
            evictionRunIntervalMillis: 1000,
            idleTimeoutMillis: 5000,
            autostart: true,
          },
          confirmPool: {
            max: 3,
            min: 1,
            evictionRunIntervalMillis: 1000,
            idleTimeoutMillis: 5000,
            autostart: true,
          },
        },
        exchanges: ['orders'],
        publications: { order: { exchange: 'orders', confirm: true } },
      },
    },
  })
  const broker = await rascal.BrokerAsPromised.create(config)
  broker.on('error', error => assert.fail(error))
  await Promise.all(
    Array.from({ length: 30 }, async (_, index) => {
      const publication = await broker.publish('order', `order ${index}`)
      await new Promise((resolve, reject) => {
        publication.on('success', resolve).on('error', reject)
      })
    }),
  )
  assert.equal(published, 30)
  await broker.shutdown()
  assert.ok(open >= 0)
}
