/** Patterns as users write them: PCRE's, with a bound on what they may cost. */
import fc from 'fast-check'
import t from 'tap'
import { Pattern, PatternError } from '../../src/structures/pattern.js'
import { deterministic } from '../support/generators.js'

const atom = fc.oneof(
  fc.constantFrom('a', 'b', '\\.', '.', '[ab]', '[^a]', '\\w', '\\W', '[a-c.]', '\\b', '\\B', '^'),
  fc.constantFrom('(?=a)', '(?!b)', '(?<=a)', '(?<!.b)', '$'),
)
const quantifier = fc.constantFrom('', '', '', '*', '+', '?', '*?', '+?', '??', '{2}', '{1,2}')

/** Patterns that mean the same to JavaScript, which does not repeat assertions. */
const { pattern } = fc.letrec<{ pattern: string; sequence: string; part: string }>(tie => ({
  pattern: fc.oneof(
    { depthSize: 'small' },
    tie('sequence'),
    fc.tuple(tie('sequence'), tie('sequence')).map(([a, b]) => `${a}|${b}`),
  ),
  sequence: fc.array(tie('part'), { maxLength: 4 }).map(parts => parts.join('')),
  part: fc.oneof(
    { depthSize: 'small' },
    atom,
    fc.tuple(fc.constantFrom('a', '.', '[^b]', '\\w'), quantifier).map(both => both.join('')),
    fc
      .tuple(
        fc.constantFrom('(', '(?:', '(?<n>'),
        tie('pattern'),
        fc.constantFrom('', '*', '+', '?'),
      )
      .map(([open, inner, how]) => `${open.replace('(?<n>', '(')}${inner})${how}`),
  ),
}))

t.test('a pattern matches what the same one of JavaScript matches', async () => {
  const name = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '.', '-'), maxLength: 8 })
  fc.assert(
    fc.property(pattern, fc.array(name, { minLength: 5, maxLength: 5 }), (source, names) => {
      const ours = new Pattern(source)
      const theirs = new RegExp(source)
      return names.every(name => ours.matches(name) === theirs.test(name))
    }),
    { ...deterministic, numRuns: 2000 },
  )
})

/** What PCRE has beyond JavaScript: pattern, names that match, names that do not. */
const pcre: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['', ['', 'a'], []],
  ['\\Aab\\Z', ['ab', 'ab\n'], ['xab', 'abx', 'ab\n\n']],
  ['^ab$', ['ab', 'ab\n'], ['ab\n\n']],
  ['^ab\\z', ['ab'], ['ab\n']],
  ['a++a', [], ['aaa']],
  ['a*+b', ['aab'], ['aaa']],
  ['^(?:a|ab)++c', ['ac', 'aac'], ['abc']],
  ['(?>a|ab)c', ['ac'], ['abc']],
  ['^(.*?)?+b', ['b'], ['ab']],
  ['(?i)aB', ['ab', 'AB'], ['a-b']],
  ['a(?i)b', ['ab', 'aB'], ['AB']],
  ['a(?i:b)c', ['abc', 'aBc'], ['aBC']],
  ['(a(?i)b)c', ['aBc'], ['aBC']],
  ['(?i)[^a]', ['b'], ['a', 'A']],
  ['(?x) a b # both\n c', ['abc'], ['a b']],
  ['a(?#a comment)b', ['ab'], []],
  ['^[[:alpha:]]+$', ['abC'], ['a1', '']],
  ['^[^[:digit:]_]$', ['a'], ['1', '_']],
  ['^[[:^alpha:]]$', ['1'], ['a']],
  ['^[]a]+$', [']a'], ['b']],
  ['^[^]a]$', ['b'], [']', 'a']],
  ['^[a\\-z]$', ['-', 'a'], ['b']],
  ['^[\\w-]+$', ['a-b'], ['a.b']],
  ['^\\Qa.b\\E+$', ['a.bb'], ['axb']],
  ['^\\h\\x41\\x{42}\\x43\\0101?', ['\tABC\bA'], ['AB']],
  ['(?P<name>a)b', ['ab'], []],
  ['^a{,2}$', ['a{,2}'], ['aa']],
  ['^a{2}{', ['aa{'], ['a{2}{']],
  ['^\\w\\W$', ['é'], ['a']],
  ['(?i)^\\xc3\\xa9$', ['é'], ['É']],
  ['^.$', ['a', '\r'], ['\n', 'ä']],
  ['^..$', ['ä'], []],
  ['(?s)^.$', ['\n'], []],
  ['^\\N\\d\\D\\s\\S\\v\\V$', ['a1a a\na'], []],
  ['(?<=^a|bc)d', ['ad', 'bcd'], ['xad', 'cd']],
  ['^(?!amq\\.).*', ['orders'], ['amq.gen-1']],
  ['^(|a)+$', ['', 'aa'], ['b']],
  ['^(a?){3}$', ['', 'aaa'], ['aaaa']],
]

for (const [source, matching, others] of pcre)
  t.test(`${JSON.stringify(source)} means what it does in PCRE`, async t => {
    const pattern = new Pattern(source)
    for (const name of matching) t.ok(pattern.matches(name), JSON.stringify(name))
    for (const name of others) t.notOk(pattern.matches(name), JSON.stringify(name))
  })

const wrong: Readonly<Record<string, readonly [string, number]>> = {
  '[': ['missing terminating ] for character class', 1],
  '[a': ['missing terminating ] for character class', 2],
  'a)': ['unmatched parentheses', 1],
  '(a': ['missing )', 2],
  '*a': ['nothing to repeat', 0],
  'a**': ['nothing to repeat', 3],
  '^*': ['nothing to repeat', 2],
  '[a-\\d]': ['invalid range in character class', 5],
  '[[.a.]]': ['POSIX collating elements are not supported', 1],
  '{2}': ['nothing to repeat', 3],
  'a{2,1}': ['numbers out of order in {} quantifier', 6],
  'a{99999}': ['number too big in {} quantifier', 8],
  '[b-a]': ['range out of order in character class', 4],
  '[[:nope:]]': ['unknown POSIX class name', 9],
  'a\\': ['\\ at end of pattern', 2],
  '(?z)': ['unrecognized character after (? or (?-', 2],
  '(?R)': ['unrecognized character after (? or (?-', 2],
  '(?(1)a)': ['unrecognized character after (? or (?-', 2],
  '(?<=a*)b': ['lookbehind assertion is not fixed length', 7],
  '(a)\\1': ['\\1 is not supported', 4],
  '\\pL': ['\\p is not supported', 1],
  '(*ACCEPT)': ['verbs are not supported', 1],
  '(?m)^a': ['the flag m is not supported', 4],
  '(?#a': ['missing ) after (?# comment', 3],
  '\\x{100}': ['character value in \\x{} or \\o{} is too large', 7],
}

for (const [source, [message, at]] of Object.entries(wrong))
  t.test(`${JSON.stringify(source)} is refused with its place`, async t => {
    t.throws(() => new Pattern(source), { name: 'PatternError', message, at })
  })

t.test('any text is a pattern or is refused', async () => {
  const piece = fc.constantFrom(
    '(',
    ')',
    '[',
    ']',
    '?',
    '*',
    '{1}',
    '\\',
    '|',
    '^',
    'a',
    ':',
    '<',
    '=',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece).map(all => all.join('')),
      ),
      source => {
        try {
          new Pattern(source).matches('aa')
          return true
        } catch (error) {
          return error instanceof PatternError
        }
      },
    ),
    { ...deterministic, numRuns: 2000 },
  )
})

t.test('a pattern that would take for ever does not match', async t => {
  const name = `${'a'.repeat(250)}b`
  for (const source of ['(a|aa)+$', '(a+)+$', '(a*)*c', '(a?){100}a{100}c', '(?:.*.*.*.*)*c'])
    t.notOk(new Pattern(source).matches(name), source)
  t.notOk(new Pattern('(?:b*){60000}c').matches(name))
  t.ok(new Pattern('(a|aa)+$').matches('aaaa'), 'it does where it takes little')
  t.throws(() => new Pattern('('.repeat(100_000)), { message: 'regular expression is too large' })
  t.throws(() => new Pattern('('.repeat(1000)), {
    message: 'parentheses are too deeply nested',
  })
  const long = Array.from({ length: 2000 }, (_, i) => `q${i}`).join('|')
  t.ok(new Pattern(`^(${long})$`).matches('q1999'))
  t.ok(new Pattern(long).matches(`${'x'.repeat(200)}q1999`), 'many names, wherever they stand')
  t.doesNotThrow(
    () => new Pattern('(?:a|b)'.repeat(9000)).matches('a'.repeat(9000)),
    'deeper than the stack',
  )
})
