/** What a connection costs that has a channel and does nothing. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { Connection } from '../../src/amqp/connection.js'
import { FakeSocket } from '../support/fake-socket.js'
import {
  connectionHost,
  handshake,
  method,
  protocolSettings,
  SimulatedBroker,
} from '../support/test-client.js'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Bytes that are reachable, in the heap and outside of it. */
function memoryInUse(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

t.test('an idle connection with a channel costs at most 20 KiB', async t => {
  const host = new SimulatedBroker()
  const shared = Buffer.alloc(4096)
  const hello = Buffer.concat([
    ...handshake({ heartbeatSeconds: 60, connectionName: 'idle' }),
    method(1, 'channel.open', {}),
  ])
  const connections: Connection[] = []
  const open = (count: number) => {
    for (let i = 0; i < count; i++) {
      const socket = new FakeSocket()
      const connection = new Connection(socket, host.broker, protocolSettings, connectionHost(host))
      socket.owner?.received(shared, hello.copy(shared))
      host.settle()
      connections.push(connection)
    }
  }
  open(100)
  const before = memoryInUse()
  open(1000)
  const each = (memoryInUse() - before) / 1000
  t.equal(host.opened, 1100)
  // What the simulated socket keeps is a part of that, as the system's would be.
  t.ok(each <= 20 * 1024, `${Math.round(each)} bytes`)
  t.equal(connections.length, 1100)
})
