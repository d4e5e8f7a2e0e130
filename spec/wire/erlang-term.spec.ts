import t from 'tap'
import { printBinary, printSnippet, writeBinary } from '../../src/wire/erlang-term.js'

t.test('octets are written as numbers', async t => {
  t.equal(writeBinary(Buffer.of()), '<<>>')
  t.equal(writeBinary(Buffer.of(0, 0)), '<<0,0>>')
  t.equal(writeBinary(Buffer.from('abc')), '<<97,98,99>>')
})

t.test('octets are printed as text where all of them are printable', async t => {
  t.equal(printBinary(Buffer.of()), '<<>>')
  t.equal(printBinary(Buffer.from('abc')), '<<"abc">>')
  t.equal(printBinary(Buffer.from('a"b\\\n')), '<<"a\\"b\\\\\\n">>')
  t.equal(printBinary(Buffer.of(0xe9)), '<<"é">>')
  t.equal(printBinary(Buffer.of(0x61, 0x7f)), '<<97,127>>')
})

t.test('a frame is printed whole up to 16 octets, then only its beginning', async t => {
  t.equal(printSnippet(Buffer.of(0, 20, 0, 10, 0)), 'all octets = <<0,20,0,10,0>>')
  t.equal(printSnippet(Buffer.from('0123456789abcdef')), 'all octets = <<"0123456789abcdef">>')
  t.equal(
    printSnippet(Buffer.from('0123456789abcdefg')),
    'first 16 octets = <<"0123456789abcdef">>',
  )
})
