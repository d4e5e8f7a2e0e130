import t from 'tap'
import { firstToLast } from '../../src/structures/rotation.js'

t.test('each entry of a map is its first in turn', async t => {
  const map = new Map([1, 2, 3].map(key => [key, `${key}`]))
  const firsts = [1, 2, 3, 4].map(() => {
    const [first] = map.entries()
    firstToLast(map)
    return first
  })
  t.strictSame(firsts, [
    [1, '1'],
    [2, '2'],
    [3, '3'],
    [1, '1'],
  ])
  t.equal(map.size, 3)
  const none = new Map()
  firstToLast(none)
  t.equal(none.size, 0)
})
