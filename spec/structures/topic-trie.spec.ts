import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { TopicTrie } from '../../src/structures/topic-trie.js'
import { deterministic } from '../support/generators.js'

function matches<T>(trie: TopicTrie<T>, key: string): T[] {
  const found: T[] = []
  trie.match(key, value => found.push(value))
  return found.sort()
}

function words(key: string): string[] {
  return key === '' ? [] : key.split('.')
}

/** The pattern as a regular expression over a key that has a dot in front of each word. */
function expression(pattern: string): RegExp {
  const parts = words(pattern).map(word => {
    if (word === '#') return '(?:\\.[^.]*)*'
    return word === '*' ? '\\.[^.]*' : `\\.${word.replace(/[*#]/g, '\\$&')}`
  })
  return new RegExp(`^${parts.join('')}$`)
}

function matchesExpression(pattern: string, key: string): boolean {
  return expression(pattern).test(
    words(key)
      .map(word => `.${word}`)
      .join(''),
  )
}

const word = fc.constantFrom('a', 'b', '', '*', '#', 'a*', '#b')
const keys = fc.array(word, { maxLength: 6, size: 'max' }).map(words => words.join('.'))

t.test('a key matches a pattern as it matches the regular expression', async () => {
  fc.assert(
    fc.property(
      fc.array(keys, { maxLength: 20, size: 'max' }),
      fc.array(keys),
      (patterns, keys) => {
        const trie = new TopicTrie<number>()
        patterns.forEach((pattern, value) => {
          trie.add(pattern, value)
        })
        for (const key of keys) {
          const expected = patterns.flatMap((pattern, value) =>
            matchesExpression(pattern, key) ? [value] : [],
          )
          deepStrictEqual(matches(trie, key), expected.sort())
        }
      },
    ),
    { ...deterministic, numRuns: 500 },
  )
})

t.test('what is removed matches no more, and the rest does as before', async () => {
  const bindings = fc.uniqueArray(keys, { maxLength: 12, size: 'max' })
  fc.assert(
    fc.property(bindings, fc.array(fc.nat(11)), fc.array(keys), (patterns, removed, keys) => {
      const trie = new TopicTrie<string>()
      for (const pattern of patterns) trie.add(pattern, pattern)
      const left = new Set(patterns)
      for (const place of removed) {
        const pattern = patterns[place]
        if (pattern === undefined) continue
        trie.remove(pattern, pattern)
        left.delete(pattern)
      }
      for (const key of [...keys, ...patterns]) {
        const expected = [...left].filter(pattern => matchesExpression(pattern, key))
        deepStrictEqual(matches(trie, key), expected.sort())
      }
    }),
    { ...deterministic, numRuns: 500 },
  )
})

t.test('removing what is not there changes nothing', async t => {
  const trie = new TopicTrie<number>()
  trie.add('a.b', 1)
  trie.remove('a', 1)
  trie.remove('a.b', 2)
  trie.remove('a.b.c', 1)
  trie.remove('a.*', 1)
  t.same(matches(trie, 'a.b'), [1])
})

t.test('a value is found once however many ways lead to it', async t => {
  const trie = new TopicTrie<number>()
  trie.add('#.#', 1)
  trie.add('#.a.#', 2)
  trie.add('#.a.#', 2)
  t.same(matches(trie, 'a.a.a'), [1, 2])
})

/** Keys, and which of the patterns RabbitMQ 3.10.8 was seen to match to them. */
const seen: readonly [key: string, patterns: readonly string[]][] = [
  ['', ['#', '', '#.#']],
  ['a', ['#', '*', 'a.#', '#.a', '*.#', '#.#']],
  ['a.b', ['#', '*.*', 'a.#', '*.#', '#.#', 'a.#.b']],
  ['b.a', ['#', '*.*', '#.a', '*.#', '#.#']],
  ['a..b', ['#', 'a.#', 'a.*.b', 'a..b', '*.#', '#.#', 'a.#.b']],
  ['.', ['#', '*.*', '*.#', '#.#']],
  ['a.x.b', ['#', 'a.#', 'a.*.b', '*.#', '#.#', 'a.#.b']],
  ['a.x.y.b', ['#', 'a.#', '*.#', '#.#', 'a.#.b']],
]

t.test('keys match the patterns that RabbitMQ matches to them', async t => {
  const patterns = ['#', '*', '*.*', 'a.#', '#.a', 'a.*.b', '', 'a..b', '*.#', '#.#', 'a.#.b']
  const trie = new TopicTrie<string>()
  for (const pattern of patterns) trie.add(pattern, pattern)
  for (const [key, expected] of seen)
    t.same(matches(trie, key), [...expected].sort(), `key '${key}'`)
})

t.test('a pattern with many # costs its length times that of the key', async t => {
  const trie = new TopicTrie<number>()
  trie.add(Array(30).fill('#.a').join('.'), 1)
  trie.add(`${Array(60).fill('#').join('.')}.b`, 2)
  const key = Array(120).fill('a').join('.')
  const started = performance.now()
  t.same(matches(trie, key), [1])
  t.same(matches(trie, `${key}.c`), [])
  t.ok(performance.now() - started < 1000)
})
