/** The header of the PROXY protocol, in whatever pieces it comes, and what of it is believed. */
import { deepStrictEqual, strictEqual, throws } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { isLoopback, Peer } from '../../src/platform/peer.js'
import { Proxies } from '../../src/platform/proxies.js'
import { ProxyHeader, ProxyHeaderError } from '../../src/platform/proxy-header.js'
import { deterministic } from '../support/generators.js'
import { pieces } from '../support/messages.js'
import { type Ends, proxyLine, proxyOctets, signature } from '../support/proxy-headers.js'

interface Read {
  readonly header: ProxyHeader
  /** What came behind the header. */
  readonly rest: string
}

/** Reads bytes that begin with a header, cut into pieces. */
function read(bytes: Buffer, cuts: readonly number[]): Read {
  const header = new ProxyHeader()
  const rest: Buffer[] = []
  for (const piece of pieces(bytes, cuts)) {
    const taken = header.complete ? 0 : header.read(piece, piece.length)
    rest.push(Buffer.from(piece.subarray(taken)))
    // The memory is the socket's.
    piece.fill(0xdd)
  }
  return { header, rest: Buffer.concat(rest).toString('latin1') }
}

const port = fc.nat(0xffff)
const ends4: fc.Arbitrary<Ends> = fc.record({
  remoteAddress: fc.ipV4(),
  remotePort: port,
  localAddress: fc.ipV4(),
  localPort: port,
})
const address6 = fc
  .array(fc.nat(0xffff), { minLength: 8, maxLength: 8 })
  .map(groups => groups.map(group => group.toString(16)).join(':'))
const ends6: fc.Arbitrary<Ends> = fc.record({
  remoteAddress: address6,
  remotePort: port,
  localAddress: address6,
  localPort: port,
})
const cuts = fc.array(fc.nat(300), { maxLength: 20 })
const behind = fc.constantFrom('', 'A', 'AMQP\0\0\x09\x01', 'PROXY TCP4', '\r\n')
const tlvs = fc.uint8Array({ maxLength: 600 }).map(octets => Buffer.from(octets))

t.test('a line gives both ends, in whatever pieces it comes', async () => {
  const check = (ends: Ends, cuts: readonly number[], behind: string) => {
    const { header, rest } = read(Buffer.from(proxyLine(ends) + behind, 'latin1'), cuts)
    deepStrictEqual(header.ends, { ...ends })
    deepStrictEqual([header.complete, header.local, rest], [true, false, behind])
  }
  fc.assert(fc.property(fc.oneof(ends4, ends6), cuts, behind, check), deterministic)
})

t.test(
  'octets give both ends, in whatever pieces they come, and TLVs are passed over',
  async () => {
    const same = (a: string, b: string) =>
      new URL(`http://[${a}]`).href === new URL(`http://[${b}]`).href
    const check = (ends: Ends, tlvs: Buffer, cuts: readonly number[], behind: string) => {
      const bytes = Buffer.concat([proxyOctets(ends, { tlvs }), Buffer.from(behind, 'latin1')])
      const { header, rest } = read(bytes, cuts)
      strictEqual(rest, behind)
      const { remoteAddress = '', localAddress = '', ...ports } = header.ends ?? {}
      deepStrictEqual(ports, { remotePort: ends.remotePort, localPort: ends.localPort })
      if (ends.remoteAddress.includes(':')) {
        strictEqual(same(remoteAddress, ends.remoteAddress), true)
        strictEqual(same(localAddress, ends.localAddress), true)
      } else deepStrictEqual([remoteAddress, localAddress], [ends.remoteAddress, ends.localAddress])
    }
    fc.assert(fc.property(fc.oneof(ends4, ends6), tlvs, cuts, behind, check), deterministic)
  },
)

const client: Ends = {
  remoteAddress: '203.0.113.7',
  remotePort: 40_000,
  localAddress: '10.0.0.1',
  localPort: 5672,
}

t.test('an address of IPv6 is shown in its short form', async t => {
  const shown = (remoteAddress: string) =>
    read(proxyOctets({ ...client, remoteAddress, localAddress: '::' }), []).header.ends
      ?.remoteAddress
  t.equal(shown('2001:db8:0:0:0:0:0:1'), '2001:db8::1')
  t.equal(shown('0:0:0:0:0:0:0:1'), '::1')
  t.equal(shown('0:0:0:0:0:ffff:7f00:1'), '::ffff:127.0.0.1')
})

t.test('a proxy that speaks for itself, or of nobody, gives no ends', async t => {
  const cases: readonly [string, Buffer, local: boolean][] = [
    ['LOCAL', proxyOctets(client, { command: 0 }), true],
    ['LOCAL with nothing', Buffer.concat([signature, Buffer.of(0x20, 0, 0, 0)]), true],
    ['UNSPEC', proxyOctets(client, { family: 0 }), false],
    [
      'a UNIX socket',
      Buffer.concat([signature, Buffer.of(0x21, 0x31, 0, 216), Buffer.alloc(216)]),
      false,
    ],
    ['UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), false],
    ['UNKNOWN with more', Buffer.from('PROXY UNKNOWN ffff::1 a b c\r\n'), false],
  ]
  for (const [what, bytes, local] of cases) {
    const { header, rest } = read(Buffer.concat([bytes, Buffer.from('AMQP')]), [])
    t.match({ ...header, rest }, { complete: true, ends: null, local, rest: 'AMQP' }, what)
  }
})

t.test('what is no header is refused with its first octet that is wrong', async t => {
  const cases: readonly [string, Buffer | string][] = [
    ['AMQP', 'AMQP\0\0\x09\x01'],
    ['a TLS ClientHello', Buffer.from('160301', 'hex')],
    ['another word', 'PROXIED TCP4'],
    ['no family', 'PROXY \r\n'],
    ['an unknown family', 'PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n'],
    ['an address of the other family', 'PROXY TCP4 ::1 ::1 1 2\r\n'],
    ['a name for an address', 'PROXY TCP4 localhost 1.2.3.4 1 2\r\n'],
    ['a port too high', 'PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n'],
    ['a port missing', 'PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n'],
    ['no carriage return', 'PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n'],
    ['a line without end', `PROXY UNKNOWN ${'x'.repeat(200)}`],
    [
      'version 1 in octets',
      Buffer.concat([signature, Buffer.of(0x11, 0x11, 0, 12), Buffer.alloc(12)]),
    ],
    ['an unknown command', proxyOctets(client, { command: 2 })],
    [
      'too short for its addresses',
      Buffer.concat([signature, Buffer.of(0x21, 0x11, 0, 11), Buffer.alloc(11)]),
    ],
  ]
  for (const [what, bytes] of cases)
    t.throws(() => read(Buffer.from(bytes as string, 'latin1'), []), ProxyHeaderError, what)
})

t.test('no bytes whatsoever do worse than be refused', async () => {
  const start = fc.constantFrom(Buffer.alloc(0), signature, Buffer.from('PROXY TCP4 '))
  const any = fc.tuple(start, fc.uint8Array({ maxLength: 300 }))
  fc.assert(
    fc.property(any, cuts, ([start, octets], cuts) => {
      try {
        read(Buffer.concat([start, octets]), cuts)
      } catch (error) {
        strictEqual(error instanceof ProxyHeaderError, true)
      }
    }),
    deterministic,
  )
})

/** The peer of a proxy's connection after a header. */
function stoodFor(from: string, header: Buffer | string): Peer {
  const peer = new Peer({
    remoteAddress: from,
    remotePort: 1,
    localAddress: '10.0.0.2',
    localPort: 2,
  })
  peer.standFor(read(Buffer.from(header as string, 'latin1'), []).header)
  return peer
}

t.test('a header takes the right of being local away, and never gives it', async t => {
  const local = { ...client, remoteAddress: '127.0.0.1' }
  t.match(stoodFor('127.0.0.1', proxyLine(client)), { ...client, fromLoopback: false })
  t.match(stoodFor('127.0.0.1', proxyLine(local)), { ...local, fromLoopback: true })
  t.match(stoodFor('192.0.2.1', proxyLine(local)), { ...local, fromLoopback: false })
  const own = { remoteAddress: '127.0.0.1', remotePort: 1 }
  t.match(stoodFor('127.0.0.1', 'PROXY UNKNOWN\r\n'), { ...own, fromLoopback: false })
  t.match(stoodFor('127.0.0.1', proxyOctets(client, { command: 0 })), {
    ...own,
    fromLoopback: true,
  })
  t.equal(stoodFor('127.0.0.1', proxyLine(client)).title, '203.0.113.7:40000 -> 10.0.0.1:5672')
})

t.test('only the proxies that are named are believed, or everybody', async t => {
  const proxies = new Proxies(['10.0.0.1', '192.168.0.0/16', '2001:db8::/32', '::1'])
  for (const address of ['10.0.0.1', '192.168.255.1', '::ffff:192.168.0.1', '2001:db8:1::1', '::1'])
    t.ok(proxies.trusts(address), address)
  for (const address of ['10.0.0.2', '192.169.0.1', '::ffff:10.0.0.2', '2001:db9::1', '::2', ''])
    t.notOk(proxies.trusts(address), address)
  t.ok(new Proxies([]).trusts('203.0.113.1'))
})

t.test('all of 127/8 is this machine, also when it is mapped into IPv6', async t => {
  for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', '::FFFF:127.0.0.1'])
    t.ok(isLoopback(address), address)
  for (const address of ['10.0.0.1', '128.0.0.1', '::2', '::ffff:10.0.0.1', '', '1127.0.0.1'])
    t.notOk(isLoopback(address), address)
  throws(() => read(Buffer.from('x'), []), ProxyHeaderError)
})
