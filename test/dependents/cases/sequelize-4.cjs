// sequelize@4 with Bluebird as the class of its promises: against MariaDB where there is one, otherwise its own manager of
// connections over doubles.
const assert = require('node:assert/strict')
const Sequelize = require('sequelize')

module.exports = async ({ mysql }) => {
  const pool = { max: 3, min: 0, acquire: 5000, idle: 5000, evict: 1000, Promise: Sequelize.Promise }
  const settings = { dialect: 'mysql', logging: false, pool, operatorsAliases: false }
  const sequelize = new Sequelize('test', 'root', '', {
    ...settings,
    host: '127.0.0.1',
    port: mysql?.port ?? 1,
  })
  const manager = sequelize.connectionManager
  if (mysql === undefined) {
    const double = { _fatalError: null, _protocolError: null, _closing: false, stream: { destroyed: false } }
    manager._connect = () => Sequelize.Promise.resolve({ ...double })
    manager._disconnect = () => Sequelize.Promise.resolve()
    sequelize.options.databaseVersion = '5.7.0'
  }
  const promise = manager.pool.acquire()
  // What its own code goes on with.
  assert.equal(typeof promise.tap, 'function')
  const connection = await promise.tap(found => assert.ok(found))
  assert.equal(typeof manager.pool.release(connection).tap, 'function')
  if (mysql !== undefined) {
    const Order = sequelize.define('order', { what: Sequelize.STRING })
    await Order.sync({ force: true })
    await Promise.all(Array.from({ length: 12 }, (_, index) => Order.create({ what: `order ${index}` })))
    assert.equal(await Order.count(), 12)
    await sequelize.transaction(transaction => Order.destroy({ where: { what: 'order 3' }, transaction }))
    assert.equal(await Order.count(), 11)
  }
  await sequelize.close()
}
