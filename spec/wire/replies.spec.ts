import fc from 'fast-check'
import t from 'tap'
import { AmqpError, cutReplyText, replies } from '../../src/wire/replies.js'
import { deterministic } from '../support/generators.js'

t.test('an error names its reply before the explanation', async t => {
  const error = new AmqpError('NOT_FOUND', "no queue 'q' in vhost '/'")
  t.equal(error.message, "NOT_FOUND - no queue 'q' in vhost '/'")
  t.equal(error.reply, 'NOT_FOUND')
  t.same(replies[error.reply], { code: 404, closes: 'channel' })
})

t.test('a reply text of up to 255 bytes is left as it is', async t => {
  t.equal(cutReplyText('é'.repeat(127)), 'é'.repeat(127))
  t.equal(cutReplyText('x'.repeat(255)), 'x'.repeat(255))
})

t.test('a longer one ends in three dots, as RabbitMQ 3.10.8 was seen to cut it', async t => {
  const text = `NOT_FOUND - no queue '${'é'.repeat(127)}' in vhost '/'`
  t.equal(cutReplyText(text), `NOT_FOUND - no queue '${'é'.repeat(115)}...`)
})

t.test('it is cut between characters, whatever they are', async () => {
  const text = fc.string({ unit: 'binary', minLength: 200, maxLength: 300 })
  fc.assert(
    fc.property(text, text => {
      const cut = cutReplyText(text)
      const size = Buffer.byteLength(cut)
      return cut === text
        ? size <= 255
        : size > 248 && size <= 255 && text.startsWith(cut.slice(0, -3))
    }),
    deterministic,
  )
})
